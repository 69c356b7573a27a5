"""Contraction consumes the identities of its input and emits those of its weight."""

from __future__ import annotations

from torch import Tensor

from tailor.channels.identity import slim, varies
from tailor.channels.rules.call import Call, Follower, Rule, input_channels

__all__ = ["CONTRACTION"]


def _convolution(run: Follower, call: Call) -> None:
    """Ties the input's channels to the weight's input dimension and emits its output dimension."""
    x, weight, bias = call.args["input"], call.args["weight"], call.args["bias"]
    path = run.aligned(weight)
    if path is None:
        _opaque_weight(run, call)
        return
    _pin_unreached(run, call, path, weight.ndim)
    groups, transposed = call.args["groups"], call.args["transposed"]
    source = input_channels(run, x, 1)
    emit = _transposed_channels if transposed else _plain_channels
    emitted = emit(run, path, weight, source, groups)
    _tie_bias(run, bias, emitted)
    shape = [1, emitted.shape[0]] + [1] * (call.out.ndim - 2)
    run.follow(call.out, (slim(emitted.reshape(shape).expand(call.out.shape)),))
    _record(run, path, call)


def _pin_unreached(run: Follower, call: Call, path: str, dims: int) -> None:
    """A layer that no data reached (nothing was detected) could be cut wrongly, and no proof would see it."""
    if not call.out.numel():
        for dim in range(min(dims, 2)):
            run.ledger.pin((run.owned(path, dim),), "no data reached its layer on the example inputs")


def _tie_bias(run: Follower, bias: Tensor | None, emitted: Tensor) -> None:
    """A bias goes with its outputs; one that is no parameter keeps them."""
    tracks = run.tracks(bias)
    for track in tracks:
        run.ledger.tie(track, emitted)
    if bias is not None and not tracks:
        run.ledger.pin((emitted,), "biased by a tensor that is no parameter")
    if (path := run.weight_path(bias)) is not None:
        run.ledger.role(path, 0, "per-channel")


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


def _opaque_weight(run: Follower, call: Call) -> None:
    """A weight that is no parameter's belongs to nobody: what it reads must stay and its output has no identity."""
    for tensor in call.inputs:
        run.ledger.pin(run.tracks(tensor), f"read by {call.name} with a weight computed in forward")
    if (path := run.weight_path(call.args["weight"])) is not None:
        _record(run, path, call)


def _record(run: Follower, path: str, call: Call) -> None:
    transposed = call.args["transposed"]
    run.record_layer(path, call, "deconv" if transposed else "conv", (0, 1) if transposed else (1, 0))


def _linear(run: Follower, call: Call) -> None:
    """Matrix product with a weight: [rows, in] x [in, out], usually a transposed parameter of shape [out, in]."""
    x, weight = call.args["mat1" if call.name == "addmm" else "self"], call.args["mat2"]
    path, tracks = run.weight_path(weight), run.tracks(weight)
    if path is None or len(tracks) != 2 or run.weight_path(x) is not None:
        _activations(run, call)
        return
    _pin_unreached(run, call, path, 2)
    turned = varies(tracks[0], 1) or varies(tracks[1], 0) or weight.numel() == 1
    out_dim = 0 if turned else 1
    out = run.owned(path, out_dim)
    run.ledger.tie(input_channels(run, x, 1), run.owned(path, 1 - out_dim))
    run.ledger.role(path, out_dim, "out")
    run.ledger.role(path, 1 - out_dim, "in")
    _tie_bias(run, call.args["self"] if call.name == "addmm" else None, out)
    run.follow(call.out, (slim(out[None].expand(call.out.shape)),))
    run.record_layer(path, call, "linear", (1 - out_dim, out_dim))


def _activations(run: Follower, call: Call) -> None:
    """A product of two activations: what is summed over must stay."""
    for tensor in call.inputs:
        run.ledger.pin(run.tracks(tensor), f"multiplied with other activations by {call.name}")


CONTRACTION: dict[str, Rule] = {
    **dict.fromkeys(("convolution", "_convolution"), _convolution),
    **dict.fromkeys(("addmm", "mm"), _linear),
    **dict.fromkeys(("mv", "dot"), _activations),
}
