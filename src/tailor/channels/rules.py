"""One rule per operator family: what an ATen operator does to the identities of the channels that it reads.

Data movement is executed on the identities themselves. Arithmetic ties. Contraction consumes one set and emits
another. Normalisation ties its parameters and passes through. Anything else pins what it touches, with its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from tailor.channels.identity import Ledger, channel_vector, slim, varies, varying

__all__ = ["Call", "Follower", "Rule", "Tracks", "rule_for", "tensors_in"]

Tracks = tuple[Tensor, ...]


class Follower(Protocol):
    """What a rule may ask of the run: identities of tensors, owners of weights, and the ledger."""

    ledger: Ledger
    mixing: str

    def tracks(self, tensor: Tensor | None) -> Tracks: ...

    def follow(self, tensor: Tensor, tracks: Tracks) -> None: ...

    def same(self, tensor: Tensor, source: Tensor) -> None: ...

    def derive(self, tensor: Tensor, source: Tensor) -> None: ...

    def parameter(self, tensor: Tensor | None) -> str | None: ...

    def weight_path(self, tensor: Tensor | None) -> str | None: ...

    def owned(self, path: str, dim: int) -> Tensor: ...

    def record_layer(self, path: str, call: Call, kind: str) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One executed operator: its arguments by their schema names, and what it returned."""

    name: str
    func: Any
    args: dict[str, Any]
    positional: tuple[Any, ...]
    keywords: dict[str, Any]
    out: Any

    @property
    def inputs(self) -> list[Tensor]:
        """All tensor arguments, in order."""
        return tensors_in((self.positional, self.keywords))


Rule = Callable[[Follower, Call], None]


def tensors_in(tree: Any) -> list[Tensor]:
    """The tensors in nested lists, tuples and dicts, in order."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


# --- data movement --------------------------------------------------------------------------------------------------


def _null(shape: Sequence[int]) -> Tensor:
    return torch.zeros((), dtype=torch.int64).expand(tuple(shape))


def _pass(run: Follower, call: Call) -> None:
    """Copies and aliases: the same identities, and a parameter stays that parameter."""
    run.same(call.out, call.inputs[0])


def _move(run: Follower, call: Call) -> None:
    """The operator itself is the rule: run it on the identities."""
    source = call.inputs[0]
    per_track = []
    for track in run.tracks(source):
        arguments = [track if arg is source else arg for arg in call.positional]
        per_track.append(call.func(*arguments, **call.keywords))
    outs = tensors_in(call.out)
    moved = [[piece] if isinstance(piece, Tensor) else list(piece) for piece in per_track]
    for number, out in enumerate(outs):
        run.follow(out, tuple(slim(pieces[number]) for pieces in moved))
        run.derive(out, source)


def _view(run: Follower, call: Call) -> None:
    """Reshape the identities; where one channel dimension is split in several, whole rows or columns go together.

    `view(b, groups, c // groups, h, w)`: cutting must leave a rectangle, so the identities along all new dimensions
    but the largest are tied.
    """
    source, out = call.inputs[0], call.out
    tracks = []
    for track in run.tracks(source):
        new = slim(track.reshape(out.shape))
        for dims in _split_dims(tuple(source.shape), tuple(out.shape)):
            _tie_all_but_largest(run.ledger, new, dims)
        tracks.append(new)
    run.follow(out, tuple(tracks))
    run.derive(out, source)


def _tie_all_but_largest(ledger: Ledger, track: Tensor, dims: Sequence[int]) -> None:
    differing = [dim for dim in dims if varies(track, dim)]
    if len(differing) < 2:
        return
    free = max(differing, key=lambda dim: track.shape[dim])
    for dim in differing:
        if dim != free:
            ledger.tie(track, track.narrow(dim, 0, 1))


def _split_dims(old: tuple[int, ...], new: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The runs of new dimensions that one run of old dimensions was split into, for a view old -> new."""
    i = j = 0
    while i < len(old) and j < len(new):
        first, left, right = j, old[i], new[j]
        while left != right:
            if left < right:
                i += 1
                left *= old[i]
            else:
                j += 1
                right *= new[j]
        i, j = i + 1, j + 1
        yield tuple(range(first, j))


def _pieces(run: Follower, call: Call) -> None:
    """Split, chunk, unbind: move, and tie equal pieces, since the code computes their common size from the shape."""
    _move(run, call)
    outs = tensors_in(call.out)
    if len({out.shape for out in outs}) == 1:
        for out in outs[1:]:
            for one, other in zip(run.tracks(outs[0]), run.tracks(out), strict=True):
                run.ledger.tie(one, other)


def _slice(run: Follower, call: Call) -> None:
    """A slice that is one of several equal pieces of a channel dimension is treated as a chunk."""
    _move(run, call)
    source, dim = call.args["self"], call.args.get("dim", 0) % call.args["self"].ndim
    length, size = call.out.shape[dim], source.shape[dim]
    if call.args.get("step", 1) == 1 and 0 < length < size and size % length == 0:
        for track, piece in zip(run.tracks(source), run.tracks(call.out), strict=True):
            if varies(track, dim):
                run.ledger.tie(piece, track.narrow(dim, 0, length))


def _pad(run: Follower, call: Call) -> None:
    """Padding along a dimension without channels keeps them; along a channel dimension it invents null ones."""
    source, out = call.args["self"], call.out
    pads = list(call.args["pad"])
    tracks = []
    for track in run.tracks(source):
        kept = list(pads)
        for step in range(len(pads) // 2):
            dim = source.ndim - 1 - step
            if not varies(track, dim) and source.shape[dim] > 1:
                kept[2 * step : 2 * step + 2] = [0, 0]
                track = track.narrow(dim, 0, 1)
        padded = torch.ops.aten.constant_pad_nd(track, kept, 0)
        tracks.append(slim(padded.expand(out.shape)))
    run.follow(out, tuple(tracks))


def _join(run: Follower, call: Call) -> None:
    """Concatenate or stack the identities; what has none takes part as null."""
    sources = [t for t in call.args["tensors"] if t.numel() or t.ndim > 1]
    per_source = [run.tracks(t) for t in sources]
    tracks = []
    for number in range(max(map(len, per_source), default=0)):
        parts = [own[number] if number < len(own) else _null(t.shape) for own, t in zip(per_source, sources, strict=True)]
        tracks.append(_join_track(call, parts))
    run.follow(call.out, tuple(tracks))


def _join_track(call: Call, parts: list[Tensor]) -> Tensor:
    dim = call.args.get("dim", 0)
    if call.name == "stack":
        parts = [part.unsqueeze(dim) for part in parts]
    dim %= call.out.ndim
    for other in range(call.out.ndim):
        if other != dim and not any(varies(part, other) for part in parts):
            parts = [part.narrow(other, 0, 1) for part in parts]
    return slim(torch.cat(parts, dim=dim).expand(call.out.shape))


def _copy_into(run: Follower, call: Call) -> None:
    """Copying into a tensor ties both; into one without identities it hides them, so they stay."""
    target, source = call.args["self"], call.args["src"]
    own, other = run.tracks(target), run.tracks(source)
    if own and other:
        _pointwise(run, call)
    elif other:
        run.ledger.pin(other, "copied into a buffer in place")


# --- arithmetic -----------------------------------------------------------------------------------------------------


def _pointwise(run: Follower, call: Call) -> None:
    """Two operands combined element by element make their identities one."""
    out = tensors_in(call.out)[0]
    merged: list[Tensor] = []
    constant: list[Tensor] = []
    adds = call.name in {"add", "add_", "sub", "sub_"}
    for operand in call.inputs:
        for track in run.tracks(operand):
            wide = track.expand(torch.broadcast_shapes(track.shape, out.shape))
            if varying(wide):
                _merge(run.ledger, merged, wide, adds and run.weight_path(operand) is None)
            else:
                constant.append(wide)
    _merge_constant(run.ledger, merged, constant)
    run.follow(out, tuple(merged))


def _merge(ledger: Ledger, merged: list[Tensor], track: Tensor, adds: bool) -> None:
    """Tie a track to the one that differs along a common dimension; unrelated tracks live on side by side."""
    for number, known in enumerate(merged):
        if varying(known) & varying(track):
            ledger.tie(known, track)
            if adds:
                ledger.mark_residual(torch.where((known != track) & (track > 0), known, 0))
            merged[number] = slim(torch.where(known == 0, track, known))
            return
    merged.append(track)


def _merge_constant(ledger: Ledger, merged: list[Tensor], constant: list[Tensor]) -> None:
    """A single channel broadcast over many (a one-channel gate) ties nothing and must stay."""
    if merged:
        ledger.pin(constant, "a single channel broadcast over others")
    elif constant:
        for track in constant[1:]:
            ledger.tie(constant[0], track)
        merged.append(constant[0])


# --- contraction ----------------------------------------------------------------------------------------------------


def _convolution(run: Follower, call: Call) -> None:
    """Ties the input's channels to the weight's input dimension and emits its output dimension."""
    x, weight, bias = call.args["input"], call.args["weight"], call.args["bias"]
    path = run.parameter(weight)
    if path is None:
        _opaque_weight(run, call)
        return
    groups, transposed = call.args["groups"], call.args["transposed"]
    source = _input_channels(run, x, 1)
    emit = _transposed_channels if transposed else _plain_channels
    emitted = emit(run, path, weight, source, groups)
    if (bias_path := run.parameter(bias)) is not None:
        run.ledger.tie(run.owned(bias_path, 0), emitted)
        run.ledger.role(bias_path, 0, "per-channel")
    shape = [1, emitted.shape[0]] + [1] * (call.out.ndim - 2)
    run.follow(call.out, (slim(emitted.reshape(shape).expand(call.out.shape)),))
    run.record_layer(path, call, "deconv" if transposed else "conv")


def _plain_channels(run: Follower, path: str, weight: Tensor, source: Tensor, groups: int) -> Tensor:
    """Output identities of a convolution, shape [out]; weight is [out, in / groups, ...]."""
    out, inner = run.owned(path, 0), run.owned(path, 1)
    if groups > 1 and weight.shape[1] == 1:  # depthwise: a block goes with its input channel
        run.ledger.tie(source[:, None], out.reshape(groups, -1))
        run.ledger.role(path, 0, "per-channel")
        return out
    run.ledger.role(path, 0, "out")
    run.ledger.role(path, 1, "in")
    run.ledger.tie(source.reshape(groups, -1), inner[None])
    if groups > 1:  # equal counts per block: the same columns of every block
        blocks = out.reshape(groups, -1)
        run.ledger.tie(blocks, blocks[:1])
    return out


def _transposed_channels(run: Follower, path: str, weight: Tensor, source: Tensor, groups: int) -> Tensor:
    """Output identities of a transposed convolution, shape [out]; weight is [in, out / groups, ...]."""
    inner, out = run.owned(path, 0), run.owned(path, 1)
    run.ledger.tie(source, inner)
    if groups > 1 and weight.shape[0] == groups:  # depthwise
        run.ledger.role(path, 0, "per-channel")
        return inner[:, None].expand(groups, weight.shape[1]).reshape(-1)
    run.ledger.role(path, 0, "in")
    run.ledger.role(path, 1, "out")
    if groups > 1:
        blocks = inner.reshape(groups, -1)
        run.ledger.tie(blocks, blocks[:1])
    return out.repeat(groups)


def _input_channels(run: Follower, x: Tensor, dim: int) -> Tensor:
    """One identity per input channel, shape [channels]; identities along other dimensions must stay."""
    vector = torch.zeros(x.shape[dim], dtype=torch.int64)
    for track in run.tracks(x):
        if varies(track, dim) or x.shape[dim] == 1:
            own = channel_vector(run.ledger, track, dim)
            run.ledger.tie(own, vector)
            vector = torch.where(vector == 0, own, vector)
        else:
            run.ledger.pin((track,), "channels moved to positions that a layer slides over")
    return vector


def _opaque_weight(run: Follower, call: Call) -> None:
    """A weight computed on the fly belongs to nobody: what it reads must stay and its output has no identity."""
    for tensor in call.inputs:
        run.ledger.pin(run.tracks(tensor), f"read by {call.name} with a weight computed in forward")


def _linear(run: Follower, call: Call) -> None:
    """Matrix product with a weight: [rows, in] x [in, out], usually a transposed parameter of shape [out, in]."""
    x, weight = call.args["mat1" if call.name == "addmm" else "self"], call.args["mat2"]
    path, tracks = run.weight_path(weight), run.tracks(weight)
    if path is None or len(tracks) != 2 or run.weight_path(x) is not None:
        _activations(run, call)
        return
    turned = varies(tracks[0], 1) or varies(tracks[1], 0) or weight.numel() == 1
    out_dim = 0 if turned else 1
    out = run.owned(path, out_dim)
    run.ledger.tie(_input_channels(run, x, 1), run.owned(path, 1 - out_dim))
    run.ledger.role(path, out_dim, "out")
    run.ledger.role(path, 1 - out_dim, "in")
    bias = call.args["self"] if call.name == "addmm" else None
    if (bias_path := run.parameter(bias)) is not None:
        run.ledger.tie(run.owned(bias_path, 0), out)
        run.ledger.role(bias_path, 0, "per-channel")
    run.follow(call.out, (slim(out[None].expand(call.out.shape)),))
    run.record_layer(path, call, "linear")


def _activations(run: Follower, call: Call) -> None:
    """A product of two activations (attention): both must stay."""
    for tensor in call.inputs:
        run.ledger.pin(run.tracks(tensor), f"multiplied with other activations by {call.name}")


# --- normalisation --------------------------------------------------------------------------------------------------


def _batch_norm(run: Follower, call: Call) -> None:
    """Ties parameters and statistics to the channels and passes through; exact under pruning."""
    x, out = call.args["input"], tensors_in(call.out)[0]
    tracks = run.tracks(x)
    vector = _input_channels(run, x, 1)
    _tie_per_channel(run, call, ("weight", "bias", "running_mean", "running_var"), vector)
    run.follow(out, tracks)


def _tie_per_channel(run: Follower, call: Call, names: Sequence[str], vector: Tensor) -> None:
    for name in names:
        tensor = call.args.get(name)
        for track in run.tracks(tensor):
            own = track.reshape(-1)
            if own.shape == vector.shape:
                run.ledger.tie(own, vector)
        path = run.weight_path(tensor)
        if path is not None:
            run.ledger.role(path, 0, "per-channel")


def _layer_norm(run: Follower, call: Call) -> None:
    """Mixes the channels that it normalises over: pinned, unless such groups are to be cut."""
    x, out = call.args["input"], tensors_in(call.out)[0]
    dims = range(x.ndim - len(call.args["normalized_shape"]), x.ndim)
    _mixing_norm(run, call, "LayerNorm", [dim for dim in dims if x.shape[dim] > 1])
    run.follow(out, run.tracks(x))


def _group_norm(run: Follower, call: Call) -> None:
    """Mixes the channels of each of its groups; with one channel per group it mixes nothing."""
    x, groups, out = call.args["input"], call.args["group"], tensors_in(call.out)[0]
    vector = _input_channels(run, x, 1)
    if groups == x.shape[1]:
        _tie_per_channel(run, call, ("weight", "bias"), vector)
    else:
        _mixing_norm(run, call, "GroupNorm", [1])
        if groups > 1:
            blocks = vector.reshape(groups, -1)
            run.ledger.tie(blocks, blocks[:1])
    run.follow(out, run.tracks(x))


def _mixing_norm(run: Follower, call: Call, norm: str, dims: list[int]) -> None:
    x = call.args["input"]
    path = run.weight_path(call.args.get("weight"))
    mixed = [track for track in run.tracks(x) if any(varies(track, dim) for dim in dims)]
    if run.mixing == "pin":
        run.ledger.pin(mixed, f'{norm} mixes these channels; trace(mixing="cut") cuts them')
    elif path is None or len(dims) != 1:
        run.ledger.pin(mixed, f"{norm} mixes these channels and has no weight along them")
    else:
        for track in mixed:
            vector = channel_vector(run.ledger, track, dims[0])
            _tie_per_channel(run, call, ("weight", "bias"), vector)
            run.ledger.mark_mixing(vector, f"{norm} {path.rpartition('.')[0]}")


# --- space and reductions -------------------------------------------------------------------------------------------


def _spatial(dims: int) -> Rule:
    """Pooling and interpolation over the last `dims` dimensions: channels pass through."""

    def rule(run: Follower, call: Call) -> None:
        x, out = call.inputs[0], tensors_in(call.out)[0]
        channel = x.ndim - dims - 1
        if run.tracks(x):
            vector = _input_channels(run, x, channel)
            shape = [1] * x.ndim
            shape[channel] = -1
            run.follow(out, (slim(vector.reshape(shape).expand(out.shape)),))

    return rule


def _reduce(run: Follower, call: Call) -> None:
    """Over space passes through; over channels the answer needs them all."""
    x, outs = call.inputs[0], tensors_in(call.out)
    dims = call.args.get("dim")
    dims = list(range(x.ndim)) if dims is None or dims == [] else [dims] if isinstance(dims, int) else list(dims)
    dims = [dim % x.ndim for dim in dims]
    tracks = []
    for track in run.tracks(x):
        if any(varies(track, dim) for dim in dims):
            run.ledger.pin((track,), f"{call.name} over channels")
            continue
        if outs[0].shape != x.shape:
            for dim in sorted(dims, reverse=True):
                track = track.narrow(dim, 0, 1) if outs[0].ndim == x.ndim else track.select(dim, 0)
        tracks.append(track)
    for out in outs:
        run.follow(out, tuple(tracks))


def _unknown(run: Follower, call: Call) -> None:
    """No rule: pin what it touches, with its name. Unknown can cost opportunities, never correctness."""
    for tensor in call.inputs:
        run.ledger.pin(run.tracks(tensor), f"operator {call.name} has no rule")


def _ignore(run: Follower, call: Call) -> None:
    """Reads shapes or makes fresh tensors: no identities involved."""


_RULES: dict[str, Rule] = {
    **dict.fromkeys(("clone", "alias", "detach", "_to_copy", "lift_fresh", "contiguous", "to"), _pass),
    **dict.fromkeys(
        ("permute", "transpose", "t", "squeeze", "unsqueeze", "select", "expand", "flip", "roll", "repeat")
        + ("pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "index_select", "unfold", "squeeze_"),
        _move,
    ),
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias"), _view),
    **dict.fromkeys(("split", "split_with_sizes", "unbind", "chunk"), _pieces),
    "slice": _slice,
    "constant_pad_nd": _pad,
    **dict.fromkeys(("cat", "stack"), _join),
    "copy_": _copy_into,
    **dict.fromkeys(
        ("relu", "relu_", "hardtanh", "hardtanh_", "silu", "silu_", "hardswish", "hardswish_", "leaky_relu", "elu_")
        + ("leaky_relu_", "gelu", "elu", "mish", "mish_", "hardsigmoid", "hardsigmoid_", "sigmoid", "sigmoid_", "tanh")
        + ("_prelu_kernel", "softplus", "where", "clamp", "clamp_", "native_dropout", "dropout", "celu", "fill_"),
        _pointwise,
    ),
    **dict.fromkeys(("convolution", "_convolution"), _convolution),
    **dict.fromkeys(("addmm", "mm"), _linear),
    **dict.fromkeys(("bmm", "baddbmm", "mv", "dot"), _activations),
    **dict.fromkeys(
        ("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training")
        + ("cudnn_batch_norm", "miopen_batch_norm", "_batch_norm_no_update", "_batch_norm_with_update"),
        _batch_norm,
    ),
    "native_layer_norm": _layer_norm,
    "native_group_norm": _group_norm,
    **dict.fromkeys(("max_pool1d_with_indices", "avg_pool1d", "reflection_pad1d", "replication_pad1d"), _spatial(1)),
    **dict.fromkeys(("upsample_nearest1d", "upsample_linear1d", "adaptive_max_pool1d"), _spatial(1)),
    **dict.fromkeys(
        ("max_pool2d_with_indices", "max_pool2d", "avg_pool2d", "_adaptive_avg_pool2d", "adaptive_max_pool2d")
        + ("upsample_nearest2d", "_upsample_nearest_exact2d", "upsample_bilinear2d", "upsample_bicubic2d")
        + ("reflection_pad2d", "replication_pad2d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"),
        _spatial(2),
    ),
    **dict.fromkeys(
        ("max_pool3d_with_indices", "avg_pool3d", "_adaptive_avg_pool3d", "adaptive_max_pool3d")
        + ("upsample_nearest3d", "upsample_trilinear3d", "reflection_pad3d", "replication_pad3d"),
        _spatial(3),
    ),
    **dict.fromkeys(
        ("mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "std_mean", "prod", "logsumexp")
        + ("linalg_vector_norm", "norm", "argmax", "argmin", "_softmax", "_log_softmax", "cumsum", "any", "all"),
        _reduce,
    ),
    **dict.fromkeys(("sym_size", "zeros_like", "ones_like", "empty_like", "new_zeros", "new_empty", "new_ones"), _ignore),
    **dict.fromkeys(("full_like", "randn_like", "rand_like", "new_full", "_assert_async", "is_same_size"), _ignore),
}


def rule_for(func: Any) -> Rule:
    """The rule of an ATen operator: by name, else arithmetic if PyTorch tags it so, else unknown."""
    name = func.overloadpacket.__name__
    if name in _RULES:
        return _RULES[name]
    return _pointwise if torch.Tag.pointwise in func.tags else _unknown
