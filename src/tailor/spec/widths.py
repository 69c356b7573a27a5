"""How many units of each group there are, and which of them are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

__all__ = ["KeepPlan", "Widths"]


class Widths(Mapping[str, int]):
    """How many units each group keeps: frozen, ordered by group, hashable."""

    __slots__ = ("_hash", "_items")

    def __init__(self, items: Mapping[str, int] | Iterable[tuple[str, int]]) -> None:
        self._items = dict(items)
        self._hash = hash(tuple(sorted(self._items.items())))

    def __getitem__(self, group: str) -> int:
        return self._items[group]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Widths) and self._items == other._items

    def __repr__(self) -> str:
        return f"Widths({self._items})"

    def __reduce__(self) -> tuple[type[Widths], tuple[dict[str, int]]]:
        """Pickled without the hash: strings hash otherwise in another process."""
        return Widths, (self._items,)

    def but(self, changes: Mapping[str, int]) -> Widths:
        """The same widths with some groups changed."""
        return Widths({**self._items, **changes})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepPlan:
    """Which units each group keeps: sorted indices per group, and the fingerprint of the graph they belong to."""

    fingerprint: str
    kept: Mapping[str, tuple[int, ...]]

    @property
    def widths(self) -> Widths:
        """How many units each group keeps."""
        return Widths({group: len(indices) for group, indices in self.kept.items()})
