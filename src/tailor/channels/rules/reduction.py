"""Space passes channels through; a reduction over channels needs them all."""

from __future__ import annotations

from torch import Tensor

from tailor.channels.identity import Ledger, channel_vector, slim, varies, varying
from tailor.channels.rules.call import ON_REQUEST, Call, Follower, Rule, input_channels, tensors_in

__all__ = ["REDUCTION"]


def _spatial(dims: int) -> Rule:
    """Pooling and interpolation over the last `dims` dimensions: channels pass through."""

    def rule(run: Follower, call: Call) -> None:
        x, out = call.inputs[0], tensors_in(call.out)[0]
        channel = x.ndim - dims - 1
        if run.tracks(x):
            vector = input_channels(run, x, channel)
            shape = [1] * x.ndim
            shape[channel] = -1
            run.follow(out, (slim(vector.reshape(shape).expand(out.shape)),))

    return rule


def _without(track: Tensor, dims: list[int], *, keepdim: bool) -> Tensor:
    for dim in sorted(dims, reverse=True):
        track = track.narrow(dim, 0, 1) if keepdim else track.select(dim, 0)
    return track


def _columns(ledger: Ledger, track: Tensor, dims: list[int]) -> Tensor:
    """The track with everything along these dimensions tied: whole columns stay or go."""
    for dim in dims:
        first = track.narrow(dim, 0, 1)
        ledger.tie(track, first)
        track = first.expand(track.shape)
    return track


def _reduce(run: Follower, call: Call) -> None:
    """Over space passes through; over channels the answer is of all of them.

    Where channels differ along a kept dimension too (branches stacked, then summed or put through a softmax), what is
    reduced together goes together.
    """
    x, outs = call.inputs[0], tensors_in(call.out)
    dims = call.args.get("dim")
    dims = list(range(x.ndim)) if dims is None or dims == [] else [dims] if isinstance(dims, int) else list(dims)
    dims = [dim % x.ndim for dim in dims] if x.ndim else []
    tracks = []
    for track in run.tracks(x):
        reduced = [dim for dim in dims if varies(track, dim)]
        own = _columns(run.ledger, track, reduced) if len(reduced) < len(varying(track)) else track
        if own is track and reduced:
            _over_channels(run, call, track, reduced)
        if outs[0].shape == x.shape:
            tracks.append(own)
        elif own is not track or not reduced:
            tracks.append(_without(own, dims, keepdim=outs[0].ndim == x.ndim))
    for out in outs:
        run.follow(out, tuple(tracks))


def _over_channels(run: Follower, call: Call, track: Tensor, reduced: list[int]) -> None:
    """A mean, a deviation or a norm over channels is a mixing norm written by hand; anything else needs them all."""
    if call.name not in _STATISTICS:
        run.ledger.pin((track,), f"{call.name} over channels")
    elif run.mixing == "pin":
        run.ledger.pin((track,), f"{call.name} over channels mixes them; {ON_REQUEST}")
    elif len(reduced) > 1:
        run.ledger.pin((track,), f"{call.name} over channels that lie along several dimensions")
    else:
        vector = channel_vector(run.ledger, track, reduced[0])
        words = f"{call.name} over channels"
        run.ledger.mark_mixing(vector, words, operator=call.name, number=call.number, dim=reduced[0])


_STATISTICS = frozenset({"mean", "var", "std", "var_mean", "std_mean", "linalg_vector_norm"})
_LINES = """max_pool1d_with_indices avg_pool1d adaptive_max_pool1d reflection_pad1d replication_pad1d
    upsample_nearest1d upsample_linear1d"""
_PLANES = """max_pool2d_with_indices max_pool2d avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d reflection_pad2d
    replication_pad2d upsample_nearest2d _upsample_nearest_exact2d upsample_bilinear2d upsample_bicubic2d
    _upsample_bilinear2d_aa _upsample_bicubic2d_aa"""
_VOLUMES = """max_pool3d_with_indices avg_pool3d _adaptive_avg_pool3d adaptive_max_pool3d reflection_pad3d
    replication_pad3d upsample_nearest3d upsample_trilinear3d"""
_REDUCED = """mean sum amax amin max min var std var_mean std_mean prod logsumexp linalg_vector_norm norm _softmax
    _log_softmax cumsum any all"""

REDUCTION: dict[str, Rule] = {
    **dict.fromkeys(_LINES.split(), _spatial(1)),
    **dict.fromkeys(_PLANES.split(), _spatial(2)),
    **dict.fromkeys(_VOLUMES.split(), _spatial(3)),
    **dict.fromkeys(_REDUCED.split(), _reduce),
}
