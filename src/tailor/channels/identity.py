"""Every channel has an identity: who owns it, with whom it is one, and why it may not go.

Identities are positive integers, 0 is the null identity (what padding invents, what nobody owns). A *track* is an
int64 tensor shaped like the tensor that it follows; its entries say whose channel each element is. Along dimensions
that do not matter it has stride 0, so it costs nothing. A weight has one track per dimension, an activation
usually one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

__all__ = [
    "Ledger",
    "Pin",
    "Site",
    "Unions",
    "channel_vector",
    "common_shape",
    "distinct",
    "longest",
    "module_name",
    "slim",
    "solid",
    "varies",
    "varying",
]


def common_shape(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    """The shape that two tracks broadcast to; `torch.broadcast_shapes` takes longer than the tie itself."""
    dims = max(len(one), len(other))
    first, second = ((1,) * (dims - len(shape)) + tuple(shape) for shape in (one, other))
    return tuple(b if a == 1 else a for a, b in zip(first, second, strict=True))


def varies(track: Tensor, dim: int) -> bool:
    """Whether identities differ along this dimension."""
    return track.shape[dim] > 1 and track.stride(dim) != 0


def varying(track: Tensor) -> frozenset[int]:
    """The dimensions along which identities differ."""
    return frozenset(dim for dim in range(track.ndim) if varies(track, dim))


def longest(track: Tensor) -> int | None:
    """Of the dimensions along which identities differ, the one with the most indices; the first of several."""
    return max(sorted(varying(track)), key=lambda dim: track.shape[dim], default=None)


def slim(track: Tensor) -> Tensor:
    """The same track with stride 0 wherever identities do not differ, so that `varies` tells the truth."""
    core = track
    if not track.numel():  # nothing to compare: strides alone know the identities
        return track
    for dim in range(track.ndim):  # what has stride 0 is not compared over and over
        if track.shape[dim] > 1 and track.stride(dim) == 0:
            core = core.narrow(dim, 0, 1)
    for dim in range(track.ndim):
        if core.shape[dim] > 1:
            first = core.narrow(dim, 0, 1)
            if bool((core == first).all()):
                core = first
    return core.expand(track.shape)


def solid(track: Tensor) -> Tensor:
    """The same track with one row where a tensor has none: the channels of boxes that nobody found.

    A track without rows still has its identities in memory, as long as it was expanded from one that had.
    """
    if track.numel():
        return track
    shape = [max(1, size) for size in track.shape]
    last = track.storage_offset() + sum((size - 1) * step for size, step in zip(shape, track.stride(), strict=True))
    if last >= track.untyped_storage().nbytes() // track.itemsize:
        return torch.zeros((), dtype=torch.int64).expand(shape)
    return track.as_strided(shape, track.stride())


@dataclass(frozen=True, slots=True, eq=False)
class Pin:
    """Identities that may not be removed, and why."""

    ids: npt.NDArray[np.int64]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Site:
    """One call that mixes channels: the `number`-th of its operator; `ids` are whose lie along `dim` of its input."""

    operator: str
    number: int
    dim: int
    ids: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Unions:
    """The resolved ledger: `unit[i]` is the number of the unit that identity i belongs to."""

    unit: npt.NDArray[np.int64]


class Ledger:
    """Hands out identities and remembers ties, pins and marks until they are resolved at once."""

    def __init__(self) -> None:
        self.owners: list[tuple[str, int, int, int]] = []  # (path, dim, first identity, size)
        self.roles: dict[tuple[str, int], tuple[str, ...]] = {}
        self.pins: list[Pin] = []
        self.residual: list[npt.NDArray[np.int64]] = []
        self.mixing: list[Pin] = []
        self.sites: list[Site] = []
        self.picked: list[npt.NDArray[np.int64]] = []  # channels picked by position, which a cut may shift
        self.selects = False  # some values decided what was computed next, so float noise may decide otherwise
        self._next = 1
        self._pairs: list[npt.NDArray[np.int64]] = []

    @property
    def count(self) -> int:
        """One more than the largest identity."""
        return self._next

    def own(self, path: str, dim: int, size: int) -> Tensor:
        """New identities for one dimension of a parameter or buffer, shape [size]."""
        self.owners.append((path, dim, self._next, size))
        return self.invent(size)

    def invent(self, size: int) -> Tensor:
        """New identities that nobody owns, shape [size]: for channels that the code makes up."""
        first = self._next
        self._next += size
        return torch.arange(first, first + size)

    def tie(self, one: Tensor, other: Tensor) -> None:
        """Make two tracks one, element by element (broadcast); the null identity ties nothing."""
        dims = common_shape(one.shape, other.shape)
        one, other = one.expand(dims), other.expand(dims)
        for dim in range(len(dims)):  # where neither differs, one row says it all
            if one.shape[dim] > 1 and one.stride(dim) == 0 and other.stride(dim) == 0:
                one, other = one.narrow(dim, 0, 1), other.narrow(dim, 0, 1)
        pairs = torch.stack([one.reshape(-1), other.reshape(-1)]).numpy()
        self._pairs.append(pairs[:, (pairs > 0).all(axis=0) & (pairs[0] != pairs[1])])

    def pin(self, tracks: Sequence[Tensor], reason: str) -> None:
        """Keep these identities for good; the first reason given is the one told."""
        for track in tracks:
            self.pins.append(Pin(distinct(track), reason))

    def mark_residual(self, track: Tensor) -> None:
        """Remember that an addition ties these identities to others."""
        self.residual.append(distinct(track))

    def mark_mixing(self, vector: Tensor, norm: str, *, operator: str, number: int, dim: int) -> None:
        """Remember that a call mixes these identities, shape [size of `dim`], and which call it is."""
        self.mixing.append(Pin(distinct(vector), norm))
        self.sites.append(Site(operator=operator, number=number, dim=dim, ids=vector.numpy()))

    def role(self, path: str, dim: int, role: str) -> None:
        """Say what a dimension is to its channels; a weight used twice may both produce and consume them."""
        known = self.roles.get((path, dim), ())
        if not known or (role not in known and "per-channel" not in (*known, role)):
            self.roles[path, dim] = (*known, role)

    @property
    def positional(self) -> bool:
        """Whether channels that no pin holds were picked by their position."""
        unit = self.resolve().unit
        held = np.unique(np.concatenate([unit[pin.ids] for pin in self.pins])) if self.pins else unit[:0]
        return any(not np.isin(unit[ids], held).all() for ids in self.picked)

    def resolve(self) -> Unions:
        """Connected components of all ties."""
        pairs = np.concatenate(self._pairs, axis=1) if self._pairs else np.zeros((2, 0), np.int64)
        ones = np.ones(pairs.shape[1], dtype=np.int8)
        ties = coo_matrix((ones, (pairs[0], pairs[1])), shape=(self._next, self._next))
        _, unit = connected_components(ties, directed=False)
        return Unions(unit=unit.astype(np.int64))


def module_name(path: str) -> str:
    """The module that a state-dict key belongs to; a parametrised weight belongs to the module that it serves."""
    module, _, parametrised = path.partition(".parametrizations.")
    return module if parametrised else path.rpartition(".")[0] or path


def distinct(track: Tensor) -> npt.NDArray[np.int64]:
    """The identities in a track without the null one, sorted."""
    track = solid(track)
    for dim in range(track.ndim):
        if not varies(track, dim):
            track = track.narrow(dim, 0, 1)
    ids: npt.NDArray[np.int64] = np.unique(track.reshape(-1).numpy())
    return ids[ids > 0]


def channel_vector(ledger: Ledger, track: Tensor, dim: int) -> Tensor:
    """One identity per index of `dim`, shape [size]; what shares an index is tied, for it can only go together."""
    rows = solid(track).movedim(dim, 0)
    for other in range(1, rows.ndim):
        if not varies(rows, other):
            rows = rows.narrow(other, 0, 1)
    rows = rows.reshape(rows.shape[0], -1)
    vector = rows.amax(dim=1)
    if rows.shape[1] > 1:
        ledger.tie(vector[:, None], rows)
    return vector
