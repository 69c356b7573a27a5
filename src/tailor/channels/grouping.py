"""From identities to groups: tied identities are a unit, units with the same footprint are a group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tailor.channels.identity import Ledger, Pin
from tailor.spec import ChannelGroup, Slot

__all__ = ["groups_of"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """Every identity that sits in a parameter dimension with a role: its unit, its slot and its index there."""

    unit: Ints
    slot: Ints
    index: Ints
    slots: tuple[tuple[str, int, str], ...]  # (path, dim, role) in the order of the run


def groups_of(ledger: Ledger) -> tuple[ChannelGroup, ...]:
    """All groups with a producer, in the order in which the run met their first producer."""
    unit = ledger.resolve().unit
    places = _places(ledger, unit)
    reasons = _first_text(ledger.pins, unit)
    mixing = _first_text(ledger.mixing, unit)
    residual = {int(u) for ids in ledger.residual for u in np.unique(unit[ids])}
    families: dict[tuple[bytes, str | None], list[tuple[int, slice]]] = {}
    for number, rows in _units(places):
        footprint = places.slot[rows].tobytes()
        families.setdefault((footprint, reasons.get(number)), []).append((number, rows))
    built = []
    for (_, reason), members in families.items():
        numbers = {number for number, _ in members}
        texts = sorted({mixing[n] for n in numbers if n in mixing})
        slots = _slots(places, [rows for _, rows in members])
        if not any(slot.role == "out" for slot in slots):
            continue
        order = min(int(n) for n in places.slot[members[0][1]] if places.slots[n][2] == "out")
        built.append((order, slots, reason, bool(numbers & residual), texts[0] if texts else None, len(members)))
    return _named(sorted(built, key=lambda item: item[0]))


def _places(ledger: Ledger, unit: Ints) -> _Places:
    """Owned identities with a role; an owner without one is per-channel if anything ties it to another owner."""
    counts = np.bincount(unit, minlength=1)
    order = {key: number for number, key in enumerate(ledger.roles)}
    keys = [(path, dim) for path, dim, _, _ in ledger.owners]
    chosen = sorted(
        (
            n
            for n, (_, _, first, size) in enumerate(ledger.owners)
            if keys[n] in order or bool((counts[unit[first : first + size]] > 1).any())
        ),
        key=lambda n: order.get(keys[n], len(order) + n),
    )
    slots, units, numbers, indices = [], [], [], []
    for slot, n in enumerate(chosen):
        path, dim, first, size = ledger.owners[n]
        slots.append((path, dim, ledger.roles.get((path, dim), "per-channel")))
        units.append(unit[first : first + size])
        numbers.append(np.full(size, slot, dtype=np.int64))
        indices.append(np.arange(size, dtype=np.int64))
    if not slots:
        empty = np.zeros(0, dtype=np.int64)
        return _Places(empty, empty, empty, ())
    flat_unit, flat_slot, flat_index = np.concatenate(units), np.concatenate(numbers), np.concatenate(indices)
    by = np.lexsort((flat_index, flat_slot, flat_unit))
    return _Places(flat_unit[by], flat_slot[by], flat_index[by], tuple(slots))


def _units(places: _Places) -> Iterator[tuple[int, slice]]:
    """Each unit and the rows of its places."""
    if not len(places.unit):
        return
    starts = np.flatnonzero(np.r_[True, places.unit[1:] != places.unit[:-1]])
    stops = np.r_[starts[1:], len(places.unit)]
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        yield int(places.unit[start]), slice(start, stop)


def _slots(places: _Places, members: list[slice]) -> tuple[Slot, ...]:
    """The slots of units with one footprint; units are ordered by their index in the first producer."""
    numbers = places.slot[members[0]]
    table = np.stack([places.index[rows] for rows in members])  # [width, places per unit]
    producers = [column for column, n in enumerate(numbers) if places.slots[n][2] == "out"]
    table = table[np.argsort(table[:, producers[0] if producers else 0], kind="stable")]
    slots = []
    for number in dict.fromkeys(numbers.tolist()):
        path, dim, role = places.slots[number]
        slots.append(Slot(path=path, dim=dim, role=role, indices=np.ascontiguousarray(table[:, numbers == number])))
    return tuple(slots)


def _first_text(marks: list[Pin], unit: Ints) -> dict[int, str]:
    """Unit -> the first text that any mark gives for it."""
    texts: dict[int, str] = {}
    for mark in marks:
        for number in np.unique(unit[mark.ids]).tolist():
            texts.setdefault(number, mark.reason)
    return texts


def _alone(group: ChannelGroup) -> str:
    """Why a group of one unit cannot be cut."""
    channels = group.channels_per_unit
    return "one channel only" if channels == 1 else f"its {channels} channels are tied to each other (split, shuffle)"


def _named(
    built: list[tuple[int, tuple[Slot, ...], str | None, bool, str | None, int]],
) -> tuple[ChannelGroup, ...]:
    """Groups named after the module of their first producer; a second group of one module gets "#2"."""
    seen: dict[str, int] = {}
    groups = []
    for _, slots, reason, residual, mixing, width in built:
        path = next(slot.path for slot in slots if slot.role == "out")
        name = path.rpartition(".")[0] or path
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            name = f"{name}#{seen[name]}"
        group = ChannelGroup(name=name, width=width, pinned=reason, residual=residual, mixing=mixing, slots=slots)
        groups.append(replace(group, pinned=_alone(group)) if reason is None and width == 1 else group)
    return tuple(groups)
