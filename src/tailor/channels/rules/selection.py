"""What a value decides: elements picked, sorted or counted by what they hold, and numbers drawn at random.

Where a value decides what is computed next, nobody can say whose channel a result is: what is read must stay. And
the smallest noise may decide otherwise, so the run remembers that it happened (`Ledger.selects`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tailor.channels.identity import slim, solid, varies
from tailor.channels.rules.call import Call, Follower, Rule, input_channels, tensors_in

__all__ = ["DRAWS", "PICKS", "SELECTION"]

PICKS = frozenset(
    {
        "topk", "sort", "argsort", "nonzero", "masked_select", "nms",
        "argmax", "argmin", "bincount", "unique", "unique2", "_unique2",
        "unique_dim", "unique_consecutive", "searchsorted", "bucketize", "_local_scalar_dense", "item",
        "kthvalue", "median", "mode", "multinomial",
    }
)

DRAWS = frozenset(
    {
        "rand", "randn", "randint", "randperm", "rand_like", "randn_like",
        "randint_like", "bernoulli", "bernoulli_", "uniform_", "normal_", "random_",
        "exponential_", "log_normal_", "cauchy_", "geometric_", "poisson", "native_dropout",
        "dropout", "alpha_dropout", "feature_dropout", "normal", "rrelu_with_noise",
    }
)


def _pick(run: Follower, call: Call) -> None:
    """Picks by value: what it reads must stay."""
    run.ledger.selects = True
    for tensor in call.inputs:
        run.ledger.pin(run.tracks(tensor), f"elements are picked by their value ({call.name})")


def _index(run: Follower, call: Call) -> None:
    """Indexing by tensors: along dimensions without channels the rest passes through."""
    x, indices = call.args["self"], call.args["indices"]
    given = [index for index in indices if index is not None]
    if any(run.tracks(index) and run.weight_path(index) is None for index in given):
        _pick(run, call)
        return
    if any(index.dtype in (torch.bool, torch.uint8) for index in given):  # how many are picked is data
        run.ledger.selects = True
    read = _read(indices)
    at_hand = [None if index is None else index.cpu() for index in indices]
    tracks = run.tracks(x)
    along = [track for track in tracks if any(varies(track, dim) for dim in read)]
    run.ledger.pin(along, "elements are picked by their place (index)")
    free = [track for track in tracks if not any(track is other for other in along)]
    run.follow(call.out, tuple(slim(call.func(track, at_hand)) for track in free))
    for index in given:
        run.ledger.pin(run.tracks(index), "a table of positions")


def _put(run: Follower, call: Call) -> None:
    """Rows written into a tensor of the same channels: the channels of both are one."""
    x, values = call.args["self"], call.args["values"]
    rows = _read(call.args["indices"]) == [0] and values.ndim == x.ndim
    tracks = run.tracks(values)
    if not rows or any(varies(track, 0) for track in (*tracks, *run.tracks(x))):
        for tensor in call.inputs:
            run.ledger.pin(run.tracks(tensor), f"written to places that are data ({call.name})")
        return
    wide = [solid(track).narrow(0, 0, 1).expand(x.shape) for track in tracks]
    for track in wide:
        for known in run.tracks(x):
            run.ledger.tie(known, track)
    if not run.tracks(x):
        run.follow(x, tuple(slim(track) for track in wide))
    run.follow(call.out, run.tracks(x))


def _read(indices: Sequence[Tensor | None]) -> list[int]:
    """The dimensions that are indexed; a mask of several dimensions reads several."""
    dims, read = 0, []
    for index in indices:
        wide = index.ndim if index is not None and index.dtype in (torch.bool, torch.uint8) else 1
        read += list(range(dims, dims + wide)) if index is not None else []
        dims += wide
    return read


def _draw(run: Follower, call: Call) -> None:
    """Numbers drawn at random in the shape of channels: another width draws other numbers."""
    for tensor in call.inputs:
        run.ledger.pin(run.tracks(tensor), f"the code draws random numbers for these channels ({call.name})")


def _regions(run: Follower, call: Call) -> None:
    """Regions or points read out of feature maps [images, channels, ...] keep the channels; where they lie stays."""
    x = call.inputs[0]
    for other in call.inputs[1:]:
        run.ledger.pin(run.tracks(other), f"places where {call.name} reads")
    if not run.tracks(x):
        return
    vector, out = input_channels(run, x, 1), tensors_in(call.out)[0]
    run.follow(out, (vector.reshape(1, -1, *[1] * (out.ndim - 2)).expand(out.shape),))


def _same_shape(run: Follower, call: Call) -> None:
    """Strides rewritten in place without a change of shape (what pooling to 1 x 1 does for channels_last)."""
    x = call.inputs[0]
    if tuple(call.args["size"]) != tuple(x.shape):
        run.ledger.pin(run.tracks(x), f"memory reinterpreted by {call.name}")


_REGIONS = "roi_align roi_pool grid_sampler_2d grid_sampler_3d"

SELECTION: dict[str, Rule] = {
    **dict.fromkeys(PICKS, _pick),
    **dict.fromkeys(DRAWS, _draw),
    **dict.fromkeys(_REGIONS.split(), _regions),
    "index": _index,
    **dict.fromkeys(("index_put", "index_put_", "_index_put_impl_"), _put),
    "as_strided_": _same_shape,
}
