"""Says why a stair has its steps: which kernel ran, in blocks of how many channels, as far as the engine tells."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tailor.latency.staircase import Staircase
from tailor.records import NodeTime
from tailor.spec import LayerShape

__all__ = [
    "KernelAccount",
    "StepReason",
    "node_account",
    "onednn_account",
    "step_reasons",
    "step_summary",
    "telling_counts",
    "unknown_account",
]

_IM2COL_ELEMENTS = 20480  # PyTorch, Convolution.cpp, use_mkldnn: below it one sample goes the old way
_VECTORS = {"avx512": 512, "avx2": 256, "sse41": 128, "asimd": 128}  # bits
_BITS = {"f32": 32, "fp32": 32, "bf16": 16, "f16": 16, "i8": 8, "u8": 8}
_WEIGHTED = ("conv", "gemm", "matmul", "fullyconnected")  # in the kinds of nodes that do a layer's work
_AXES = {"out": "output channels", "in": "input channels"}


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelAccount:
    """The implementation that ran, and in words: `block` channels of an axis go through it at once (None: not told)."""

    kernel: str
    block: int | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReason:
    """Why the latency rises beyond `channels`, the right edge of a tread."""

    channels: int
    sentence: str


def unknown_account(why: str) -> KernelAccount:
    """Nothing is known of the kernel; says why."""
    return KernelAccount(kernel="", block=None, sentence=f"unknown: {why}")


def onednn_account(verbose: str, shape: LayerShape, axis: str, *, batch_size: int, threads: int) -> KernelAccount:
    """What PyTorch ran on the CPU, from the lines that oneDNN printed meanwhile (ONEDNN_VERBOSE=1).

    The block is read off the memory tags: aBcd16b stores channels in blocks of 16, Acdb64a computes 64 outputs at once.
    No line at all means one of PyTorch's own kernels.
    """
    for line in verbose.splitlines():
        fields = line.split(",")
        if "exec" in fields and (start := fields.index("exec")) + 4 < len(fields):
            kind, kernel, memory = fields[start + 2], fields[start + 3], fields[start + 5]
            if kind in ("convolution", "deconvolution", "inner_product", "matmul"):
                block = _tag_block(memory, shape, axis)
                return KernelAccount(
                    kernel=f"oneDNN {kernel}", block=block, sentence=_blocks_of(f"oneDNN {kernel}", block, axis)
                )
    return _native_account(shape, batch_size, threads)


def node_account(nodes: Sequence[NodeTime], shape: LayerShape, axis: str, vectors: str) -> KernelAccount:
    """What ONNX Runtime or OpenVINO ran, from the kernel names of their own profiles; `vectors` are the processor's."""
    weighted = [node for node in nodes if any(word in node.kind.lower() for word in _WEIGHTED)]
    heavy = max(weighted, key=lambda node: node.ns, default=None)
    if heavy is None or not heavy.kernel:
        return unknown_account("the engine names no kernel for this layer")
    kernel = heavy.kernel
    moved = [node.kind for node in nodes if node.kind.startswith("Reorder")]
    if kernel.endswith("NCHWc"):
        wide = 16 if "avx512f" in vectors else 8
        sentence = _blocks_of(f"ONNX Runtime {kernel}", wide, axis)
        return KernelAccount(kernel=kernel, block=wide, sentence=sentence + (", with reorders" if moved else ""))
    if kernel == heavy.kind:
        refused = f", not the blocked layout ({shape.in_channels} inputs are no multiple of 4)"
        sentence = f"ONNX Runtime {kernel}" + (refused if shape.in_channels % 4 and shape.kind == "conv" else "")
        return KernelAccount(kernel=kernel, block=None, sentence=f"{sentence}; it tells no block")
    block = _vector_block(kernel)
    return KernelAccount(kernel=kernel, block=block, sentence=_blocks_of(kernel, block, axis))


def telling_counts(staircase: Staircase) -> tuple[int, ...]:
    """The few channel counts whose kernels account for all steps: one per regime, else ends and the largest step.

    One more speaks for the narrowest points, or for the widest, where the regimes leave these out.
    """
    if staircase.regimes:
        narrow_end, widest = _narrow_end(staircase), staircase.points[-1].channels
        below = (_told_at(staircase, 1, narrow_end),) if narrow_end else ()
        above = (widest,) if widest > staircase.regimes[-1].high else ()
        return (*below, *(_told_at(staircase, regime.low, regime.high) for regime in staircase.regimes), *above)
    edges = staircase.edges
    if len(edges) < 2:
        return edges
    largest = max(range(1, len(edges)), key=lambda n: staircase.treads[n].ns - staircase.treads[n - 1].ns)
    return tuple(sorted({edges[0], edges[largest - 1], edges[largest], edges[-1]}))


def step_reasons(staircase: Staircase, accounts: Mapping[int, KernelAccount]) -> tuple[StepReason, ...]:
    """A reason for every step: the block of the kernel at work, or that another kernel takes over.

    A block explains an edge only when the edge is a multiple of it; what is not explained is called unknown.
    """
    if not accounts:
        return ()
    reasons = []
    for edge in staircase.edges[:-1]:
        below, above = (accounts[_teller(staircase, sorted(accounts), count)] for count in (edge, edge + 1))
        reasons.append(StepReason(channels=edge, sentence=_reason(edge, staircase, below, above)))
    return tuple(reasons)


def step_summary(why: Sequence[StepReason]) -> list[tuple[str, tuple[int, ...]]]:
    """Each reason once, with the right edges that it accounts for, in the order of the edges."""
    edges: dict[str, tuple[int, ...]] = {}
    for reason in why:
        edges[reason.sentence] = (*edges.get(reason.sentence, ()), reason.channels)
    return list(edges.items())


def _reason(edge: int, staircase: Staircase, below: KernelAccount, above: KernelAccount) -> str:
    tread = next(tread for tread in staircase.treads if tread.right_edge == edge)
    borders = {regime.high for regime in staircase.regimes}
    border = edge in borders or edge <= _narrow_end(staircase) or not staircase.regimes
    if border and below.kernel != above.kernel and below.kernel and above.kernel:
        return f"{below.kernel} gives way to {above.kernel}"
    for account in (above, below):
        if account.block and edge % account.block == 0:
            return account.sentence
    told = above.sentence if above.kernel else below.sentence
    if told.startswith("unknown"):
        return told
    return f"unknown; {told}" if tread.sharp else f"no jump, a slope cut into steps that can be told apart; {told}"


def _teller(staircase: Staircase, told: Sequence[int], channels: int) -> int:
    """The count whose kernel speaks for this one: of the same stretch, else the nearest that is no narrower."""
    regime = next((each for each in staircase.regimes if each.low <= channels <= each.high), None)
    low, high = (regime.low, regime.high) if regime is not None else (0, _narrow_end(staircase))
    same = [count for count in told if low <= count <= high] if channels <= high else []
    return min(same, default=min((count for count in told if count >= channels), default=told[-1]))


def _narrow_end(staircase: Staircase) -> int:
    """The widest measured count that the regimes leave out below them; 0 where there is none."""
    low = staircase.regimes[0].low if staircase.regimes else 0
    return max((point.channels for point in staircase.points if point.channels < low), default=0)


def _told_at(staircase: Staircase, low: int, high: int) -> int:
    """The roundest and then widest measured count of a stretch: odd counts may run in a kernel of their own."""
    inside = [point.channels for point in staircase.points if low <= point.channels <= high]
    return max(inside, key=lambda count: (math.gcd(count, 16), count), default=high)


def _native_account(shape: LayerShape, batch_size: int, threads: int) -> KernelAccount:
    """PyTorch's own kernels and the rule that chose them (PyTorch, Convolution.cpp, use_mkldnn)."""
    if shape.kind == "linear":
        return KernelAccount(kernel="gemm", block=None, sentence="PyTorch gemm; it tells no block")
    elements = batch_size * shape.in_channels * math.prod(shape.spatial)
    if set(shape.kernel) == {1} and threads == 1 and batch_size < 16:
        why = "1x1 on one thread with batch below 16"
    elif batch_size == 1 and elements <= _IM2COL_ELEMENTS:
        why = f"batch 1 with C*H*W = {elements} <= {_IM2COL_ELEMENTS}"
    else:
        why = "oneDNN was not asked"
    return KernelAccount(
        kernel="im2col + gemm", block=None, sentence=f"PyTorch im2col + gemm ({why}); it tells no block"
    )


def _blocks_of(kernel: str, block: int | None, axis: str) -> str:
    return f"{kernel} works in blocks of {block} {_AXES[axis]}" if block else f"{kernel}; it tells no block"


def _tag_block(memory: str, shape: LayerShape, axis: str) -> int | None:
    """Channels per block along an axis: of the weights' tag where it has one, else of the activation's."""
    tags = dict(re.findall(r"(src|wei|dst):\w+:\w*:blocked:([A-Za-z0-9]+):", memory))
    dimension = {"out": 0, "in": 1}[axis] + (1 if shape.groups > 1 else 0)
    if shape.groups > 1 and shape.groups == shape.in_channels:
        dimension = 0
    weights = _letter_block(tags.get("wei", ""), "abcde"[dimension])
    activation = _letter_block(tags.get("dst" if axis == "out" else "src", ""), "b")
    return weights or activation


def _letter_block(tag: str, letter: str) -> int | None:
    """The product of the numbers before the letter: ABcd8b16a2b blocks b by 16 and a by 16."""
    sizes = [int(size) for size, name in re.findall(r"(\d+)([a-z])", tag) if name == letter]
    return math.prod(sizes) if sizes else None


def _vector_block(kernel: str) -> int | None:
    """Numbers in one vector register, from a name such as jit_avx512_f32 or brgconv_avx512_1x1_bf16."""
    bits = next((bits for name, bits in _VECTORS.items() if name in kernel), None)
    width = next((width for name, width in _BITS.items() if kernel.lower().endswith(f"_{name}")), None)
    return bits // width if bits and width and "gemm" not in kernel else None
