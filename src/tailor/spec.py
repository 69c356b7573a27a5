"""What a network is, without its framework: groups of channels, how many of each are kept, and what that costs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tailor.errors import CutError, InvalidOptionError, UnknownNameError
from tailor.program import Program

__all__ = [
    "Axis",
    "Branch",
    "ChannelGraph",
    "ChannelGroup",
    "KeepPlan",
    "Layer",
    "LayerShape",
    "Slot",
    "Target",
    "TensorSpec",
    "Widths",
    "replace_groups",
]

IndexArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where and how the network will run; part of every measurement's key."""

    engine: str = "torch"
    device: str = "cpu"
    batch_size: int = 1
    threads: int = 1
    precision: str = "fp32"
    layout: str = "contiguous"

    def __post_init__(self) -> None:
        for name in ("batch_size", "threads"):
            value = getattr(self, name)
            if value < 1:
                raise InvalidOptionError(f"{name} must be at least 1, not {value}", value=value)

    def __str__(self) -> str:
        threads = "" if self.device.startswith("cuda") else f", {self.threads} thread{'s' * (self.threads > 1)}"
        return f"{self.engine} on {self.device}, batch {self.batch_size}{threads}, {self.precision}, {self.layout}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """One concrete convolution or linear layer: everything its latency depends on, nothing else.

    `kind` is "conv", "deconv" or "linear"; spatial tuples are one entry per spatial dimension, empty for linear.
    """

    kind: str
    in_channels: int
    out_channels: int
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    output_padding: tuple[int, ...] = ()
    groups: int = 1
    spatial: tuple[int, ...] = ()
    bias: bool = False

    @property
    def output_spatial(self) -> tuple[int, ...]:
        """Spatial size of the output, one entry per dimension."""
        dims = zip(self.spatial, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        if self.kind == "deconv":
            extra = self.output_padding or (0,) * len(self.spatial)
            return tuple(
                (n - 1) * s - 2 * p + d * (k - 1) + e + 1 for (n, k, s, p, d), e in zip(dims, extra, strict=True)
            )
        return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in dims)

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations for one sample; a layer without channels has none."""
        if not self.in_channels or not self.out_channels:
            return 0
        positions = math.prod(self.spatial if self.kind == "deconv" else self.output_spatial)
        return positions * math.prod(self.kernel) * (self.in_channels // self.groups) * self.out_channels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slot:
    """Where the channels of a group live: positions along one dimension of one parameter or buffer.

    `indices` has shape [width, positions per unit]; `role` is "out" (producer), "in" (consumer) or "per-channel".
    """

    path: str
    dim: int
    role: str
    indices: IndexArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChannelGroup:
    """Channels that live or die together; `width` counts the units that can be removed one by one.

    `pinned` is the reason why the group may not be cut, or None. `residual` says that an addition ties several
    producers (a residual stream); `mixing` names the norm that mixes these channels, or None. `removable` says that
    they live in a residual branch that may go as a whole: then they may all be removed.
    """

    name: str
    width: int
    quantum: int = 1
    min_width: int = 1
    pinned: str | None = None
    residual: bool = False
    mixing: str | None = None
    removable: bool = False
    slots: tuple[Slot, ...] = ()

    @property
    def producers(self) -> tuple[str, ...]:
        """Paths of the weights whose output channels these are."""
        return tuple(dict.fromkeys(slot.path for slot in self.slots if slot.role == "out"))

    @property
    def channels_per_unit(self) -> int:
        """Output channels of the first producer that one unit stands for."""
        return next((int(s.indices.shape[1]) for s in self.slots if s.role == "out"), 1)

    @property
    def smallest(self) -> int:
        """The smallest width above zero that bounds and quantum allow."""
        if self.pinned is not None:
            return self.width
        smallest = max(1, self.min_width)
        smallest = -(-smallest // self.quantum) * self.quantum
        return min(smallest, self.width)

    def allows(self, width: int) -> bool:
        """Whether this width respects pin, bounds and quantum; the dense width always does, zero where removable."""
        if width == 0:
            return self.removable
        return width == self.width or (self.smallest <= width < self.width and width % self.quantum == 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """How many channels one dimension of a layer has: a fixed part, and so many per kept unit of each group.

    `within` is a group of the removable branch that the layer stands in, if any: at width 0 the layer is gone.
    """

    fixed: int
    terms: tuple[tuple[str, int], ...] = ()
    within: str | None = None

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that the size depends on."""
        own = (group for group, _ in self.terms)
        return tuple(dict.fromkeys([*own, *([] if self.within is None else [self.within])]))

    def size(self, widths: Mapping[str, int]) -> int:
        """Channels along this axis when the groups have these widths; none when the layer is gone."""
        if self.within is not None and not widths[self.within]:
            return 0
        return self.fixed + sum(per_unit * widths[group] for group, per_unit in self.terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A convolution or linear layer of the network and the groups its two axes read."""

    name: str
    shape: LayerShape
    inputs: Axis
    outputs: Axis
    calls: int = 1

    @property
    def depthwise(self) -> bool:
        """Whether every block reads one input channel, so that blocks vanish with their channels."""
        return self.shape.groups > 1 and self.shape.groups == self.shape.in_channels

    def at(self, widths: Mapping[str, int]) -> LayerShape:
        """The concrete layer when the groups have these widths; one of a removed branch has no channels."""
        in_channels, out_channels = self.inputs.size(widths), self.outputs.size(widths)
        if not in_channels or not out_channels:
            return replace(self.shape, in_channels=0, out_channels=0, groups=1)
        groups = in_channels if self.depthwise else self.shape.groups
        return replace(self.shape, in_channels=in_channels, out_channels=out_channels, groups=groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A residual branch that can go as a whole: the addition behind it then passes its other operand through.

    `groups` live inside it: all of them are at width 0, or none. `modules` are the calls that it is made of, `tensors`
    the parameters and buffers that go with them. `addition` counts the network's additions of two tensors in the order
    of the run, `operand` (0 or 1) says which of the two the branch is. `pinned` is why it must stay, or None.
    """

    name: str
    groups: tuple[str, ...]
    modules: tuple[str, ...]
    tensors: frozenset[str]
    addition: int
    operand: int
    pinned: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """Shape of one parameter or buffer of the dense network."""

    path: str
    shape: tuple[int, ...]
    parameter: bool


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

    @property
    def smallest_widths(self) -> Widths:
        """Every group as narrow as it may become."""
        return Widths({group.name: group.smallest for group in self.groups})

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
