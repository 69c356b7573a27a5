"""Normalisation ties its parameters and passes through; norms that mix channels are marked."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tailor.channels.identity import channel_vector, module_name, varies, varying
from tailor.channels.rules.call import ON_REQUEST, Call, Follower, Rule, input_channels, tensors_in

__all__ = ["NORMALISATION"]


def _batch_norm(run: Follower, call: Call) -> None:
    """Ties parameters and statistics to the channels and passes through; exact under pruning."""
    x, out = call.args["input"], tensors_in(call.out)[0]
    tracks = run.tracks(x)
    if run.weight_path(x) is not None:
        _standardise(run, call)
    else:
        vector = input_channels(run, x, 1)
        _tie_per_channel(run, call, ("weight", "bias", "running_mean", "running_var"), vector)
    run.follow(out, tracks)
    run.derive(out, x)


def _standardise(run: Follower, call: Call) -> None:
    """A weight [1, out, in * kernel] put through a norm: rows keep to themselves, what lies along a row is mixed."""
    for track in run.tracks(call.args["input"]):
        if varying(track) == {1}:
            _tie_per_channel(run, call, ("weight", "bias"), channel_vector(run.ledger, track, 1))
        elif varying(track) and run.mixing == "pin":
            run.ledger.pin((track,), f"weight standardisation mixes these channels; {ON_REQUEST}")
        elif varying(track) == {2}:
            vector = channel_vector(run.ledger, track, 2)
            run.ledger.mark_mixing(vector, "weight standardisation", operator=call.name, number=call.number, dim=2)
        elif varying(track):
            run.ledger.pin((track,), "mixed by a norm of a weight over several dimensions")


def _tie_per_channel(run: Follower, call: Call, names: Sequence[str], vector: Tensor) -> None:
    for name in names:
        tensor = call.args.get(name)
        for track in run.tracks(tensor):
            own = track.reshape(-1)
            if own.shape == vector.shape and (varying(track) or len(vector) == 1):
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
    vector = input_channels(run, x, 1)
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
        run.ledger.pin(mixed, f"{norm} mixes these channels; {ON_REQUEST}")
    elif len(dims) != 1:
        run.ledger.pin(mixed, f"{norm} mixes these channels over several dimensions")
    else:
        for track in mixed:
            vector = channel_vector(run.ledger, track, dims[0])
            _tie_per_channel(run, call, ("weight", "bias"), vector)
            where = f"{norm} {module_name(path)}" if path else norm
            run.ledger.mark_mixing(vector, where, operator=call.name, number=call.number, dim=dims[0])


def _weight_norm(run: Follower, call: Call) -> None:
    """A weight divided by its norm is still that weight; its magnitudes go with its rows."""
    weight, magnitude, dim = call.args["v"], call.args["g"], call.args["dim"]
    out = tensors_in(call.out)[0]
    run.follow(out, run.tracks(weight))
    run.derive(out, weight)
    for track in run.tracks(weight):
        for other in run.tracks(magnitude):
            if varies(track, dim) and varies(other, dim):
                run.ledger.tie(track, other)
    if (path := run.parameter(magnitude)) is not None:
        run.ledger.role(path, dim, "per-channel")


_BATCH_NORMS = """native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm
    miopen_batch_norm _batch_norm_no_update _batch_norm_with_update"""

NORMALISATION: dict[str, Rule] = {
    **dict.fromkeys(_BATCH_NORMS.split(), _batch_norm),
    "_weight_norm_interface": _weight_norm,
    "native_layer_norm": _layer_norm,
    "native_group_norm": _group_norm,
}
