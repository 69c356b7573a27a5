"""Products of activations: rows and columns keep their channels, and channels that are summed over must stay.

So the values of an attention pass through, however many tokens they are mixed over; queries and keys do not, for no
weight reads them that could ignore one.
"""

from __future__ import annotations

from torch import Tensor

from tailor.channels.identity import slim, varies, varying
from tailor.channels.rules.call import Call, Follower, Rule, input_channels

__all__ = ["ATTENTION"]


def _batched_product(run: Follower, call: Call) -> None:
    """[batch, rows, inner] x [batch, inner, columns]; a weight of batch one is a linear layer (einsum writes it so)."""
    names = ("self", "mat2") if call.name == "bmm" else ("batch1", "batch2")
    one, other = (call.args[name] for name in names)
    if call.name == "baddbmm":
        run.ledger.pin(run.tracks(call.args["self"]), "added to a product of activations by baddbmm")
    if (path := _weight_alone(run, other, one)) is not None:
        _linear(run, call, one, other, path, inner=-1)
    elif (path := _weight_alone(run, one, other)) is not None:
        _linear(run, call, other, one, path, inner=-2)
    else:
        _mix(run, call, one, other)


def _weight_alone(run: Follower, weight: Tensor, x: Tensor) -> str | None:
    """Whose weight this is if it is one matrix [1, in, out] of a parameter's own dimensions and the other no weight."""
    tracks = run.tracks(weight)
    single = weight.shape[0] == 1 and len(tracks) == 2 and [len(varying(track)) for track in tracks] == [1, 1]
    return run.weight_path(weight) if single and run.weight_path(x) is None else None


def _linear(run: Follower, call: Call, x: Tensor, weight: Tensor, path: str, inner: int) -> None:
    """x [1, rows, in] (or [1, in, rows]) with a weight; `inner` is the dimension of x that is summed over."""
    summed = weight.ndim + (-2 if inner == -1 else -1)
    in_dim = 0 if varies(run.tracks(weight)[0], summed) else 1
    source = input_channels(run, x, x.ndim + inner)
    run.ledger.tie(source, run.owned(path, in_dim))
    run.ledger.role(path, 1 - in_dim, "out")
    run.ledger.role(path, in_dim, "in")
    out = run.owned(path, 1 - in_dim)
    emitted = out[None, None] if inner == -1 else out[None, :, None]
    run.follow(call.out, (slim(emitted.expand(call.out.shape)),))
    run.record_layer(path, call, "linear", (in_dim, 1 - in_dim))


def _mix(run: Follower, call: Call, one: Tensor, other: Tensor) -> None:
    """Rows of the one and columns of the other pass through; what is summed over must stay."""
    passed = []
    for tensor, kept, summed in ((one, -2, -1), (other, -1, -2)):
        for track in run.tracks(tensor):
            if varies(track, track.ndim + summed):
                run.ledger.pin((track,), f"multiplied with other activations by {call.name}")
            elif varies(track, track.ndim + kept):
                row = track.narrow(summed, 0, 1)
                passed.append(slim(row.expand(call.out.shape)))
            else:
                run.ledger.pin((track,), f"one of several products by {call.name}")
    run.follow(call.out, tuple(passed))


def _scaled_dot_product(run: Follower, call: Call) -> None:
    """Values [batch, heads, tokens, channels] pass through; queries, keys and masks must stay."""
    for name in ("query", "key", "attn_mask", "attn_bias"):
        run.ledger.pin(run.tracks(call.args.get(name)), "queries and keys of an attention are multiplied")
    out = call.out[0] if isinstance(call.out, (tuple, list)) else call.out
    passed = []
    for track in run.tracks(call.args["value"]):
        if varies(track, track.ndim - 2) or not varies(track, track.ndim - 1):
            run.ledger.pin((track,), "channels lie along the tokens of an attention")
        else:
            passed.append(slim(track.narrow(-2, 0, 1).expand(out.shape)))
    run.follow(out, tuple(passed))


_KERNELS = """_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention
    _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention
    _scaled_dot_product_attention_math _scaled_dot_product_fused_attention_overrideable"""

ATTENTION: dict[str, Rule] = {
    **dict.fromkeys(("bmm", "baddbmm"), _batched_product),
    **dict.fromkeys(_KERNELS.split(), _scaled_dot_product),
}
