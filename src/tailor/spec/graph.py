"""The whole network: its groups, layers and tensors, and what it costs at any widths."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tailor.errors import CutError, UnknownNameError
from tailor.program import Program
from tailor.spec.groups import Branch, ChannelGroup, TensorSpec
from tailor.spec.layers import Layer
from tailor.spec.widths import KeepPlan, Widths

__all__ = ["ChannelGraph", "replace_groups"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChannelGraph:
    """Every group of a network, where its channels live, and what the network costs at any widths.

    `example` holds the inputs that the network was traced on, as given: the proof of a cut runs on their like. Where
    the model's code holds channel counts, the graph belongs to the model's exported form, which is `program`; None
    means that it belongs to the model itself. `branches` are the residual branches, when the trace was asked for them.
    """

    groups: tuple[ChannelGroup, ...]
    layers: tuple[Layer, ...]
    tensors: tuple[TensorSpec, ...]
    example: Any = field(default=None, repr=False)
    program: Program | None = field(default=None, repr=False)
    branches: tuple[Branch, ...] = ()
    _by_name: dict[str, ChannelGroup] = field(init=False, repr=False)
    _fingerprint: str = field(init=False, repr=False)  # hashed once, when first asked for

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {group.name: group for group in self.groups})
        object.__setattr__(self, "_fingerprint", "")
        if len(self._by_name) != len(self.groups):
            raise CutError("group names must be unique", value=[group.name for group in self.groups])

    def __getitem__(self, name: str) -> ChannelGroup:
        try:
            return self._by_name[name]
        except KeyError:
            raise UnknownNameError(f"no channel group {name!r}; `tailor inspect` lists them", value=name) from None

    @property
    def prunable(self) -> tuple[ChannelGroup, ...]:
        """Groups that may be cut."""
        return tuple(group for group in self.groups if group.pinned is None)

    @property
    def pinned(self) -> tuple[ChannelGroup, ...]:
        """Groups that may not be cut, each with its reason in `pinned`."""
        return tuple(group for group in self.groups if group.pinned is not None)

    @property
    def form(self) -> str:
        """What is cut: "module", the model itself, or "exported graph", the calls that its forward makes."""
        return "module" if self.program is None else "exported graph"

    @property
    def fingerprint(self) -> str:
        """Changes exactly when groups, their places or the tensors' shapes change."""
        if not self._fingerprint:
            object.__setattr__(self, "_fingerprint", _fingerprint(self.groups, self.tensors))
        return self._fingerprint

    @property
    def dense_widths(self) -> Widths:
        """Every group whole."""
        return Widths({group.name: group.width for group in self.groups})

    def narrowest(self, least: int) -> Widths:
        """Every group at the smallest width that keeps so many units, where it has as many."""
        return Widths({group.name: group.at_least(least) for group in self.groups})

    @property
    def smallest_widths(self) -> Widths:
        """Every group as narrow as it may become."""
        return self.narrowest(1)

    @property
    def removable(self) -> tuple[Branch, ...]:
        """Branches that may go."""
        return tuple(branch for branch in self.branches if branch.pinned is None)

    def gone(self, widths: Mapping[str, int]) -> tuple[Branch, ...]:
        """The branches that are removed at these widths."""
        return tuple(branch for branch in self.removable if not any(widths[group] for group in branch.groups))

    def check(self, widths: Mapping[str, int]) -> None:
        """Refuse widths that miss a group, break a pin, a bound or a quantum, or remove half a branch.

        Raises:
            CutError: naming the group, the width asked for and the widths allowed.
        """
        for name in widths:
            self[name]
        for group in self.groups:
            if group.name not in widths:
                raise CutError(f"widths miss group {group.name!r}", value=group.name)
            width = widths[group.name]
            if not group.allows(width):
                why = f"pinned: {group.pinned}" if group.pinned else (
                    f"allowed are {group.smallest} to {group.width} in multiples of {group.quantum}"
                )
                raise CutError(f"group {group.name!r} cannot have width {width} ({why})", value=width)
        for branch in self.removable:
            if len({bool(widths[group]) for group in branch.groups}) > 1:
                names = ", ".join(branch.groups)
                message = f"branch {branch.name!r} goes as a whole: {names} are at width 0 together or not at all"
                raise CutError(message, value=branch.name)

    def check_plan(self, plan: KeepPlan) -> None:
        """Refuse a plan of another graph, or indices that are not sorted, distinct and in range.

        Raises:
            CutError: naming the group and the indices.
        """
        if plan.fingerprint != self.fingerprint:
            raise CutError(
                "this keep plan belongs to another graph; trace the model it was made for", value=plan.fingerprint
            )
        self.check(plan.widths)
        for name, kept in plan.kept.items():
            if list(kept) != sorted(set(kept)) or (kept and not 0 <= kept[0] <= kept[-1] < self[name].width):
                width = self[name].width
                raise CutError(f"group {name!r}: kept indices must be sorted, distinct and below {width}", value=kept)

    def macs(self, widths: Mapping[str, int]) -> int:
        """Multiply-accumulate operations of all convolutions and linear layers, one sample."""
        return sum(layer.at(widths).macs * layer.calls for layer in self.layers)

    def parameters(self, widths: Mapping[str, int]) -> int:
        """Scalars in all parameters (buffers not counted)."""
        gone = frozenset().union(*(branch.tensors for branch in self.gone(widths)))
        sizes = {t.path: list(t.shape) for t in self.tensors if t.parameter and t.path not in gone}
        for group in self.groups:
            places = {(slot.path, slot.dim): int(slot.indices.shape[1]) for slot in group.slots}  # tied: two roles
            for (path, dim), channels in places.items():
                if path in sizes:
                    sizes[path][dim] -= (group.width - widths[group.name]) * channels
        return sum(math.prod(shape) for shape in sizes.values())

    def channels(self, widths: Mapping[str, int]) -> int:
        """Output channels of all convolutions (LACP's fifth metric)."""
        return sum(layer.at(widths).out_channels for layer in self.layers if layer.shape.kind != "linear")


def replace_groups(graph: ChannelGraph, groups: Sequence[ChannelGroup]) -> ChannelGraph:
    """The same network with other groups (pins, bounds or quanta changed)."""
    return replace(graph, groups=tuple(groups))


def _fingerprint(groups: Sequence[ChannelGroup], tensors: Sequence[TensorSpec]) -> str:
    digest = hashlib.sha256()
    for group in groups:
        digest.update(f"{group.name}:{group.width};".encode())
        for slot in group.slots:
            digest.update(f"{slot.path}:{slot.dim}:{slot.role}:{slot.indices.shape};".encode())
            digest.update(np.ascontiguousarray(slot.indices).tobytes())
    for tensor in tensors:
        digest.update(f"{tensor.path}:{tensor.shape};".encode())
    return digest.hexdigest()[:16]
