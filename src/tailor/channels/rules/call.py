"""What a rule sees: one executed operator, and what it may ask of the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from tailor.channels.identity import Ledger, channel_vector, varies, varying

__all__ = ["ON_REQUEST", "Call", "Follower", "Rule", "Tracks", "input_channels", "null_track", "tensors_in"]

Tracks = tuple[Tensor, ...]

ON_REQUEST = 'trace(mixing="cut") cuts them'


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

    def aligned(self, tensor: Tensor) -> str | None: ...

    def owned(self, path: str, dim: int) -> Tensor: ...

    def record_layer(self, path: str, call: Call, kind: str, axes: tuple[int, int]) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One executed operator: its arguments by their schema names, what it returned, and the how-manieth it is."""

    name: str
    func: Any
    args: dict[str, Any]
    positional: tuple[Any, ...]
    keywords: dict[str, Any]
    out: Any
    number: int

    @property
    def inputs(self) -> list[Tensor]:
        """All tensor arguments, in order."""
        return tensors_in((self.positional, self.keywords))


Rule = Callable[[Follower, Call], None]


def tensors_in(tree: Any) -> list[Tensor]:
    """The tensors in nested lists, tuples and dicts, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    parts = tree if isinstance(tree, (tuple, list)) else tree.values() if isinstance(tree, dict) else ()
    return [tensor for part in parts for tensor in tensors_in(part)]


def null_track(shape: tuple[int, ...]) -> Tensor:
    """A track of null identities."""
    return torch.zeros((), dtype=torch.int64).expand(shape)


def input_channels(run: Follower, x: Tensor, dim: int) -> Tensor:
    """One identity per input channel, shape [channels]; identities along other dimensions must stay."""
    vector = torch.zeros(x.shape[dim], dtype=torch.int64)
    for track in run.tracks(x):
        if varies(track, dim) or (x.shape[dim] == 1 and not varying(track)):
            own = channel_vector(run.ledger, track, dim)
            run.ledger.tie(own, vector)
            vector = torch.where(vector == 0, own, vector)
        else:
            run.ledger.pin((track,), "channels moved to positions that a layer slides over")
    return vector
