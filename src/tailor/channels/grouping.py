"""From identities to groups: tied identities are a unit, units with the same footprint are a group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tailor.channels.identity import Ledger, Pin, module_name
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
    reasons, reason_of = _first_texts(ledger.pins, unit)
    norms, norm_of = _first_texts(ledger.mixing, unit)
    residual = np.zeros(len(reason_of), dtype=bool)
    for ids in ledger.residual:
        residual[unit[ids]] = True
    built = []
    for footprint, numbers, table in _families(places, reason_of):
        slots = _slots(places, footprint, table)
        if not any(slot.role == "out" for slot in slots):
            continue
        order = min(int(n) for n in footprint if places.slots[n][2] == "out")
        texts = sorted({norms[code] for code in norm_of[numbers].tolist() if code})
        reason = reasons[int(reason_of[numbers[0]])] or None
        mixing = texts[0] if texts else None
        built.append((order, slots, reason, bool(residual[numbers].any()), mixing, len(numbers)))
    return _named(sorted(built, key=lambda item: item[0]))


def _families(places: _Places, reason_of: Ints) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Units with one footprint and one reason: slots [places per unit], units [width], indices [width, places].

    Units of equally many places are compared at once, as rows of a table.
    """
    if not len(places.unit):
        return
    starts = np.flatnonzero(np.r_[True, places.unit[1:] != places.unit[:-1]])
    counts = np.diff(np.r_[starts, len(places.unit)])
    for count in np.unique(counts).tolist():
        rows = starts[counts == count]
        grid = rows[:, None] + np.arange(count)
        units, footprints, indices = places.unit[rows], places.slot[grid], places.index[grid]
        keys = np.column_stack([reason_of[units], footprints])
        order = np.lexsort(keys.T[::-1])  # stable: units stay in the order of their first identity
        breaks = np.flatnonzero((keys[order][1:] != keys[order][:-1]).any(axis=1)) + 1
        for members in np.split(order, breaks):
            yield footprints[members[0]], units[members], indices[members]


def _places(ledger: Ledger, unit: Ints) -> _Places:
    """Owned identities with a role; an owner without one is per-channel if anything ties it to another owner."""
    counts = np.bincount(unit, minlength=1)
    order = {place: number for number, place in enumerate(ledger.roles)}
    keys = [(path, dim) for path, dim, _, _ in ledger.owners]
    chosen = sorted(
        (
            n
            for n, (_, _, first, size) in enumerate(ledger.owners)
            if keys[n] in order or bool((counts[unit[first : first + size]] > 1).any())
        ),
        key=lambda n: order.get(keys[n], len(order) + n),
    )
    slots: list[tuple[str, int, str]] = []
    units, numbers, indices = [], [], []
    for n in chosen:
        path, dim, first, size = ledger.owners[n]
        for role in ledger.roles.get((path, dim), ("per-channel",)):  # a tied weight may produce and consume
            units.append(unit[first : first + size])
            numbers.append(np.full(size, len(slots), dtype=np.int64))
            indices.append(np.arange(size, dtype=np.int64))
            slots.append((path, dim, role))
    if not slots:
        empty = np.zeros(0, dtype=np.int64)
        return _Places(empty, empty, empty, ())
    flat_unit, flat_slot, flat_index = np.concatenate(units), np.concatenate(numbers), np.concatenate(indices)
    by = np.lexsort((flat_index, flat_slot, flat_unit))
    return _Places(flat_unit[by], flat_slot[by], flat_index[by], tuple(slots))


def _slots(places: _Places, footprint: Ints, table: Ints) -> tuple[Slot, ...]:
    """The slots of units with one footprint; units are ordered by their index in the first producer."""
    producers = [column for column, n in enumerate(footprint.tolist()) if places.slots[n][2] == "out"]
    table = table[np.argsort(table[:, producers[0] if producers else 0], kind="stable")]
    slots = []
    for number in dict.fromkeys(footprint.tolist()):
        path, dim, role = places.slots[number]
        slots.append(Slot(path=path, dim=dim, role=role, indices=np.ascontiguousarray(table[:, footprint == number])))
    return tuple(slots)


def _first_texts(marks: Sequence[Pin], unit: Ints) -> tuple[list[str], Ints]:
    """All texts, "" first, and for each unit the number of the first text that any mark gives for it."""
    texts = list(dict.fromkeys(["", *(mark.reason for mark in marks)]))
    number = {text: code for code, text in enumerate(texts)}
    codes = np.zeros(int(unit.max(initial=0)) + 1, dtype=np.int64)
    for mark in reversed(marks):
        codes[unit[mark.ids]] = number[mark.reason]
    return texts, codes


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
        name = module_name(path)
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            name = f"{name}#{seen[name]}"
        group = ChannelGroup(name=name, width=width, pinned=reason, residual=residual, mixing=mixing, slots=slots)
        groups.append(replace(group, pinned=_alone(group)) if reason is None and width == 1 else group)
    return tuple(groups)
