"""Engines' own words become a kernel and a block; a block explains only edges that are its multiples."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tailor.latency.kernels import (
    KernelAccount,
    node_account,
    onednn_account,
    step_reasons,
    step_summary,
    telling_counts,
    unknown_account,
)
from tailor.latency.staircase import Point, fit_staircase
from tailor.records import NodeTime
from tailor.spec import LayerShape

SHAPE = LayerShape(
    kind="conv", in_channels=256, out_channels=116, kernel=(3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1),
    spatial=(14, 14),
)
EXEC = "onednn_verbose,v1,primitive,exec,cpu,"
PLAIN = (  # as oneDNN 3.13 prints a 3x3 convolution of PyTorch
    EXEC + "reorder,jit:blk,undef,src:f32::blocked:abcd::f0 dst:f32::blocked:aBcd16b::f0,,,1x256x14x14,0.01\n"
    + EXEC + "convolution,jit:avx512_core,forward_training,src:f32:a:blocked:aBcd16b::f0 "
    "wei:f32:ap:blocked:ABcd16b16a::f0 bia:undef::undef::: dst:f32:ap:blocked:aBcd16b::f0,attr-scratchpad:user,"
    "alg:convolution_direct,mb1_ic256oc116,0.48\n"
)
LAST = (
    EXEC + "convolution,brg_conv_fwd:avx512_core,forward_training,src:f32::blocked:acdb::f0 "
    "wei:f32:ap:blocked:Acdb64a::f0 bia:undef::undef::: dst:f32::blocked:acdb::f0,,alg:convolution_direct,mb1,0.5\n"
)
DEPTHWISE = (
    EXEC + "convolution,jit_dw:avx512_core,forward_training,src:f32:a:blocked:aBcd16b::f0 "
    "wei:f32:a:blocked:Abcde16a::f0 bia:f32:a:blocked:a::f0 dst:f32:a:blocked:aBcd16b::f0,,alg,g256mb1,0.01\n"
)


@pytest.mark.parametrize(
    ("text", "axis", "shape", "kernel", "block"),
    [
        (PLAIN, "out", SHAPE, "oneDNN jit:avx512_core", 16),
        (PLAIN, "in", SHAPE, "oneDNN jit:avx512_core", 16),
        (LAST, "out", SHAPE, "oneDNN brg_conv_fwd:avx512_core", 64),
        (LAST, "in", SHAPE, "oneDNN brg_conv_fwd:avx512_core", None),
        (DEPTHWISE, "out", replace(SHAPE, out_channels=256, groups=256), "oneDNN jit_dw:avx512_core", 16),
        (PLAIN.replace("ABcd16b16a", "aBCde8c16b"), "out", replace(SHAPE, groups=4), "oneDNN jit:avx512_core", 16),
        (PLAIN.replace("ABcd16b16a", "aBCde8c16b"), "in", replace(SHAPE, groups=4), "oneDNN jit:avx512_core", 8),
        (PLAIN.replace("ABcd16b16a", "ABcd8b16a2b"), "in", SHAPE, "oneDNN jit:avx512_core", 16),
    ],
)
def test_the_block_is_read_off_the_tags(
    text: str, axis: str, shape: LayerShape, kernel: str, block: int | None
) -> None:
    found = onednn_account(text, shape, axis, batch_size=1, threads=1)
    assert (found.kernel, found.block) == (kernel, block)
    assert ("blocks of" in found.sentence) is (block is not None)


def test_without_a_primitive_it_is_one_of_pytorchs_own_kernels_with_the_rule_that_chose_it() -> None:
    pointwise = replace(SHAPE, kernel=(1, 1), padding=(0, 0))
    assert "1x1 on one thread" in onednn_account("", pointwise, "out", batch_size=1, threads=1).sentence
    small = onednn_account("", replace(SHAPE, in_channels=16), "out", batch_size=1, threads=1)
    assert "C*H*W = 3136 <= 20480" in small.sentence
    linear = LayerShape(kind="linear", in_channels=8, out_channels=8)
    assert onednn_account("", linear, "in", batch_size=1, threads=1).kernel == "gemm"


def node(kind: str, kernel: str, ns: float = 100.0, layer: str | None = "") -> NodeTime:
    return NodeTime(name=kind, layer=layer, kind=kind, kernel=kernel, ns=ns)


@pytest.mark.parametrize(
    ("nodes", "inputs", "block", "words"),
    [
        ([node("ReorderInput", "ReorderInput", layer=None), node("Conv", "Conv NCHWc")], 64, 16, "with reorders"),
        ([node("Conv", "Conv")], 47, None, "47 inputs are no multiple of 4"),
        ([node("Convolution", "brgconv_avx512_f32"), node("Reorder", "jit_uni_f32", 900.0)], 64, 16, "brgconv"),
        ([node("Convolution", "jit_avx2_f32")], 64, 8, "blocks of 8"),
        ([node("Convolution", "brgconv_avx512_bf16")], 64, 32, "blocks of 32"),
        ([node("FullyConnected", "jit_gemm_f32")], 64, None, "tells no block"),
        ([], 64, None, "unknown"),
    ],
)
def test_runtimes_name_their_kernels(nodes: list[NodeTime], inputs: int, block: int | None, words: str) -> None:
    found = node_account(nodes, replace(SHAPE, in_channels=inputs), "out", "avx512f avx2")
    assert found.block == block
    assert words in found.sentence


def stairs(quantum: int, counts: tuple[int, ...] = (1, 16, 17, 32, 33, 48, 49, 64, 80, 81, 96, 112, 113, 128)):  # type: ignore[no-untyped-def]
    return fit_staircase([Point(channels=c, ns=10_000 * -(-c // quantum), noise=0.002) for c in counts], 0.004)


def test_a_block_explains_its_multiples_and_nothing_else() -> None:
    block = KernelAccount(kernel="k", block=16, sentence="k works in blocks of 16")
    found = stairs(16)
    (count,) = telling_counts(found)
    reasons = step_reasons(found, {count: block})
    assert [reason.channels for reason in reasons] == list(range(16, 128, 16))
    assert step_summary(reasons) == [("k works in blocks of 16", tuple(range(16, 128, 16)))]
    wrong = step_reasons(found, {count: replace(block, block=48)})
    assert {reason.sentence.startswith("unknown") for reason in wrong if reason.channels % 48} == {True}


def test_a_change_of_kernel_is_told_at_the_border_alone() -> None:
    points = [
        Point(channels=c, ns=10_000 * -(-c // 16) * (1 if c <= 64 else 2), noise=0.002)
        for c in (1, 16, 17, 32, 33, 48, 49, 64, 65, 80, 81, 96, 97, 112, 113, 128)
    ]
    found = fit_staircase(points, 0.004)
    low, high = telling_counts(found)
    accounts = {low: KernelAccount(kernel="a", block=16, sentence="a"), high: unknown_account("not told")}
    assert {reason.sentence for reason in step_reasons(found, accounts)} == {"a", "unknown: not told"}
    accounts[high] = KernelAccount(kernel="b", block=16, sentence="b")
    told = {reason.channels: reason.sentence for reason in step_reasons(found, accounts)}
    assert told[64] == "a gives way to b"
    assert (told[16], told[96]) == ("a", "b")


def test_a_narrow_end_of_its_own_is_told_by_its_own_kernel() -> None:
    """Below the stairs every step that another kernel accounts for is told as a change, not as the stairs' block."""
    narrow = [Point(channels=c, ns=ns, noise=0.002) for c, ns in ((1, 500), (4, 4_000), (5, 7_000))]
    counts = (16, 17, 32, 33, 48, 49, 64, 80, 81, 96, 112, 113, 128)
    points = [Point(channels=c, ns=10_000 * -(-c // 16), noise=0.002) for c in counts]
    found = fit_staircase([*narrow, *points], 0.004)
    assert [regime.low for regime in found.regimes] == [16]
    below, above = telling_counts(found)
    assert below < 16 <= above
    accounts = {
        below: KernelAccount(kernel="a", block=4, sentence="a"),
        above: KernelAccount(kernel="b", block=16, sentence="b"),
    }
    told = {reason.channels: reason.sentence for reason in step_reasons(found, accounts)}
    assert (told[4], told[32]) == ("a", "b")
    assert told[5] == "a gives way to b"


def test_a_dense_end_of_its_own_is_told_by_its_own_kernel() -> None:
    counts = (1, 16, 17, 32, 33, 48, 49, 64, 80, 81, 96, 112, 113, 127)
    points = [Point(channels=c, ns=10_000 * -(-c // 16), noise=0.002) for c in counts]
    found = fit_staircase([*points, Point(channels=128, ns=110_000, noise=0.002)], 0.004)
    assert [(regime.low, regime.high) for regime in found.regimes] == [(1, 127)]
    assert found.sharp_edges == (*range(16, 113, 16), 127)
    assert (found.at(127), found.at(128)) == pytest.approx((80_000, 110_000), rel=0.01)
    below, widest = telling_counts(found)
    assert below < widest == 128
    accounts = {
        below: KernelAccount(kernel="a", block=16, sentence="a"),
        widest: KernelAccount(kernel="b", block=16, sentence="b"),
    }
    told = {reason.channels: reason.sentence for reason in step_reasons(found, accounts)}
    assert (told[112], told[127]) == ("a", "a gives way to b")
    accounts[widest] = replace(accounts[below], sentence="a works in blocks of 16")
    assert "unknown" in {reason.channels: reason.sentence for reason in step_reasons(found, accounts)}[127]
