"""Data movement is executed on the identities themselves: the operator is the rule."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from tailor.channels.identity import Ledger, distinct, slim, varies, varying
from tailor.channels.rules.arithmetic import combine
from tailor.channels.rules.call import Call, Follower, Rule, null_track, tensors_in

__all__ = ["MOVEMENT"]


def _pass(run: Follower, call: Call) -> None:
    """Copies and aliases: the same identities, and a parameter stays that parameter."""
    run.same(call.out, call.inputs[0])


def _move(run: Follower, call: Call) -> None:
    """The operator itself is the rule: run it on the identities."""
    source = call.inputs[0]
    per_track = []
    for track in run.tracks(source):
        arguments = [track if arg is source else _at_hand(arg) for arg in call.positional]
        per_track.append(call.func(*arguments, **call.keywords))
    outs = tensors_in(call.out)
    moved = [[piece] if isinstance(piece, Tensor) else list(piece) for piece in per_track]
    for number, out in enumerate(outs):
        run.follow(out, tuple(slim(pieces[number]) for pieces in moved))
        run.derive(out, source)
    if call.name in _PICKED:
        _note_picks(run, source, outs[0])


def _note_picks(run: Follower, source: Tensor, piece: Tensor) -> None:
    """Remember that code picks channels by position, unless it takes all of them in their order."""
    for track, part in zip(run.tracks(source), run.tracks(piece), strict=True):
        if part.shape == track.shape and torch.equal(part, track):
            continue
        if len(distinct(part)) < len(distinct(track)) or (part.shape == track.shape and varying(track)):
            run.ledger.picked.append(distinct(track))


def _at_hand(argument: object) -> object:
    """Identities live on the CPU, and so must the indices that move them."""
    return argument.cpu() if isinstance(argument, Tensor) else argument


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
    if len(differing) > 1:
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
    else:
        _note_picks(run, call.inputs[0], outs[0])


def _slice(run: Follower, call: Call) -> None:
    """A slice that is one of several equal pieces of a channel dimension is treated as a chunk."""
    _move(run, call)
    source, dim = call.args["self"], call.args.get("dim", 0) % call.args["self"].ndim
    length, size = call.out.shape[dim], source.shape[dim]
    if not length or length == size:
        return
    if call.args.get("step", 1) != 1 or size % length or length == 1:
        _note_picks(run, source, call.out)
    else:
        for track, piece in zip(run.tracks(source), run.tracks(call.out), strict=True):
            if varies(track, dim):
                run.ledger.tie(piece, track.narrow(dim, 0, length))


def _pad(run: Follower, call: Call) -> None:
    """Padding along a dimension without channels keeps them; along a channel dimension it makes channels up."""
    source, out = call.args["self"], call.out
    pads = list(call.args["pad"])
    tracks = []
    for track in run.tracks(source):
        kept, core = list(pads), track
        for step in range(len(pads) // 2):
            dim = source.ndim - 1 - step
            if not varies(track, dim) and source.shape[dim] > 1:
                kept[2 * step : 2 * step + 2] = [0, 0]
                core = core.narrow(dim, 0, 1)
        padded = torch.ops.aten.constant_pad_nd(core, kept, 0)
        if len(along := varying(track)) == 1:
            dim = next(iter(along))
            step = source.ndim - 1 - dim
            if any(kept[2 * step : 2 * step + 2]):
                _make_up(run.ledger, padded, dim, kept[2 * step], kept[2 * step + 1])
        tracks.append(slim(padded.expand(out.shape)))
    run.follow(out, tuple(tracks))


def _make_up(ledger: Ledger, padded: Tensor, dim: int, before: int, after: int) -> None:
    """Identities for padded channels; the n-th before and the n-th after are one, since code halves their number."""
    if min(before, after) < 0:  # a crop
        return
    invented = ledger.invent(max(before, after))
    shape = [-1 if other == dim else 1 for other in range(padded.ndim)]
    padded.narrow(dim, 0, before).copy_(invented[:before].reshape(shape))
    padded.narrow(dim, padded.shape[dim] - after, after).copy_(invented[:after].reshape(shape))


def _join(run: Follower, call: Call) -> None:
    """Concatenate or stack the identities; what has none takes part as null."""
    sources = [t for t in call.args["tensors"] if t.numel() or t.ndim > 1]
    per_source = [run.tracks(t) for t in sources]
    tracks = []
    for number in range(max(map(len, per_source), default=0)):
        parts = [
            own[number] if number < len(own) else null_track(t.shape)
            for own, t in zip(per_source, sources, strict=True)
        ]
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


def _windows(run: Follower, call: Call) -> None:
    """im2col: [batch, channels, height, width] to [batch, channels * kernel, positions]; a channel is a run of rows."""
    source, out = call.args["self"], call.out
    kernel = math.prod(call.args["kernel_size"])
    for track in run.tracks(source):
        if varying(track) - {source.ndim - 3}:
            run.ledger.pin((track,), "channels moved to positions that a window slides over")
            return
    rows = [track.select(-1, 0).select(-1, 0).repeat_interleave(kernel, -1) for track in run.tracks(source)]
    run.follow(out, tuple(slim(row[..., None].expand(out.shape)) for row in rows))


def _halves(run: Follower, call: Call) -> None:
    """A gated linear unit multiplies one half of the channels with the other: they go in pairs."""
    source, out = call.args["self"], call.out
    dim = call.args.get("dim", -1) % source.ndim
    tracks = []
    for track in run.tracks(source):
        half = track.narrow(dim, 0, out.shape[dim])
        if varies(track, dim):
            run.ledger.tie(half, track.narrow(dim, out.shape[dim], out.shape[dim]))
        tracks.append(slim(half))
    run.follow(out, tuple(tracks))


def _transform(run: Follower, call: Call) -> None:
    """A Fourier transform over space keeps the channels; over channels it needs them all."""
    source, out = call.args["self"], call.out
    dims = [dim % source.ndim for dim in call.args["dim"]]
    tracks = []
    for track in run.tracks(source):
        if any(varies(track, dim) for dim in dims):
            run.ledger.pin((track,), f"{call.name} over channels")
            continue
        for dim in dims:
            track = track.narrow(dim, 0, 1)  # noqa: PLW2901 - one dimension after the other
        tracks.append(track.expand(out.shape))
    run.follow(out, tuple(tracks))


def _copy_into(run: Follower, call: Call) -> None:
    """Copying into a tensor ties both; into one without identities it hides them, so they stay."""
    target, source = call.args["self"], call.args["src"]
    own, other = run.tracks(target), run.tracks(source)
    if own and other:
        combine(run, call)
    elif other:
        run.ledger.pin(other, "copied into a buffer in place")


_PASSED = "clone alias detach _to_copy lift_fresh contiguous to"
_PICKED = frozenset({"select", "index_select", "roll"})
_MOVED = """permute transpose t squeeze squeeze_ unsqueeze select expand flip roll repeat
    pixel_shuffle pixel_unshuffle channel_shuffle index_select unfold"""
_VIEWED = "view _unsafe_view reshape _reshape_alias"
_PIECED = "split split_with_sizes unbind chunk"

MOVEMENT: dict[str, Rule] = {
    **dict.fromkeys(_PASSED.split(), _pass),
    **dict.fromkeys(_MOVED.split(), _move),
    **dict.fromkeys(_VIEWED.split(), _view),
    **dict.fromkeys(_PIECED.split(), _pieces),
    "slice": _slice,
    **dict.fromkeys(("_fft_r2c", "_fft_c2r", "_fft_c2c"), _transform),
    "im2col": _windows,
    "glu": _halves,
    "constant_pad_nd": _pad,
    "cat": _join,
    "stack": _join,
    "copy_": _copy_into,
}
