"""Where operators take channel counts: which number of a call counts which stretch of which tensor's dimension.

A number that a call is given is a channel count if the channels it counts have identities. Here stands only what
each number would count; whether channels live there, the run finds out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Place", "bound", "places"]


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A number of a call and the indices that it counts: `size` of them from `start` along a dimension of a tensor.

    `argument` is its name in the operator's schema, `index` its position in a list; `sign` is -1 where the number is
    the negative of the count. `makes` says that the call makes these channels up.
    """

    argument: str
    index: int | None
    tensor: Any
    dim: int
    start: int
    size: int
    sign: int = 1
    makes: bool = False


Arguments = Mapping[str, Any]
Rule = Callable[[Arguments, Any], Iterator[Place]]


def places(operator: str, arguments: Arguments, out: Any) -> list[Place]:
    """The numbers of one call that may count channels; `operator` is a name without overload.

    Tensors may be fake ones. Sizes that are no plain numbers, or that the operator infers, are left out, and so are
    counts of nothing.
    """
    rule = _RULES.get(operator)
    return [] if rule is None else [place for place in rule(arguments, out) if place.size > 0]


def _plain(number: Any) -> bool:
    return type(number) is int


def _sizes(name: str) -> Rule:
    """Every size is the size of the result."""

    def rule(arguments: Arguments, out: Any) -> Iterator[Place]:
        for dim, size in enumerate(arguments[name]):
            if _plain(size) and size > 0:
                yield Place(name, dim, out, dim, 0, size)

    return rule


def _expand(arguments: Arguments, out: Any) -> Iterator[Place]:
    """Sizes of the result; where one channel becomes many, the others are made up."""
    source, sizes = arguments["self"], arguments["size"]
    for dim, size in enumerate(sizes):
        own = dim - (len(sizes) - source.ndim)
        if _plain(size) and size > 0:
            yield Place("size", dim, out, dim, 0, size, makes=own < 0 or source.shape[own] == 1)


def _make(name: str) -> Rule:
    """A fresh tensor; convolutions have their channels along the second dimension."""

    def rule(arguments: Arguments, out: Any) -> Iterator[Place]:
        sizes = arguments[name]
        if len(sizes) > 1 and _plain(sizes[1]) and sizes[1] > 0:
            yield Place(name, 1, out, 1, 0, sizes[1], makes=True)

    return rule


def _unflatten(arguments: Arguments, out: Any) -> Iterator[Place]:
    first = arguments["dim"] % arguments["self"].ndim
    for index, size in enumerate(arguments["sizes"]):
        if _plain(size) and size > 0:
            yield Place("sizes", index, out, first + index, 0, size)


def _slice(arguments: Arguments, out: Any) -> Iterator[Place]:
    """Start and end count what lies before them; from the end, what lies behind."""
    x = arguments["self"]
    dim = arguments.get("dim", 0) % x.ndim
    for name in ("start", "end"):
        yield from _border(name, arguments.get(name), x, dim)


def _border(name: str, border: Any, x: Any, dim: int) -> Iterator[Place]:
    size = x.shape[dim]
    if not _plain(border) or not _plain(size):
        return
    if 0 < border <= size:
        yield Place(name, None, x, dim, 0, border)
    elif -size <= border < 0:
        yield Place(name, None, x, dim, size + border, -border, sign=-1)


def _narrow(arguments: Arguments, out: Any) -> Iterator[Place]:
    x = arguments["self"]
    dim = arguments["dim"] % x.ndim
    yield from _border("start", arguments["start"], x, dim)
    if _plain(arguments["length"]) and _plain(arguments["start"]):
        yield Place("length", None, x, dim, arguments["start"] % x.shape[dim], arguments["length"])


def _select(arguments: Arguments, out: Any) -> Iterator[Place]:
    yield from _border("index", arguments["index"], arguments["self"], arguments["dim"] % arguments["self"].ndim)


def _pieces(name: str) -> Rule:
    def rule(arguments: Arguments, out: Any) -> Iterator[Place]:
        x, start = arguments["self"], 0
        dim = arguments.get("dim", 0) % x.ndim
        for index, size in enumerate(arguments[name]):
            if not _plain(size):
                return
            yield Place(name, index, x, dim, start, size)
            start += size

    return rule


def _split(arguments: Arguments, out: Any) -> Iterator[Place]:
    x = arguments["self"]
    if isinstance(arguments["split_size"], Sequence):
        yield from _pieces("split_size")(arguments, out)
    elif _plain(arguments["split_size"]):
        dim = arguments.get("dim", 0) % x.ndim
        yield Place("split_size", None, x, dim, 0, min(arguments["split_size"], x.shape[dim]))


def _pad(arguments: Arguments, out: Any) -> Iterator[Place]:
    """What is put before and behind counts in the result; what is cropped counts in the source."""
    x, pads = arguments["self"], arguments["pad"]
    for index, number in enumerate(pads):
        dim = x.ndim - 1 - index // 2
        if not _plain(number) or number == 0:
            continue
        tensor = out if number > 0 else x
        start = tensor.shape[dim] - abs(number) if index % 2 else 0
        yield Place("pad", index, tensor, dim, start, abs(number), sign=1 if number > 0 else -1)


def _depthwise(arguments: Arguments, out: Any) -> Iterator[Place]:
    groups = arguments.get("groups", 1)
    if _plain(groups) and groups > 1 and groups == arguments["input"].shape[1]:
        yield Place("groups", None, arguments["input"], 1, 0, groups)


def _layer_norm(arguments: Arguments, out: Any) -> Iterator[Place]:
    sizes, x = arguments["normalized_shape"], arguments["input"]
    for index, size in enumerate(sizes):
        if _plain(size):
            yield Place("normalized_shape", index, x, x.ndim - len(sizes) + index, 0, size)


def _group_norm(arguments: Arguments, out: Any) -> Iterator[Place]:
    """As many groups as channels go with the channels."""
    groups = arguments["num_groups"]
    if _plain(groups) and groups == arguments["input"].shape[1]:
        yield Place("num_groups", None, arguments["input"], 1, 0, groups)


_CONVOLUTIONS = "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution"
_RULES: dict[str, Rule] = {
    **dict.fromkeys(("view", "_unsafe_view"), _sizes("size")),
    "reshape": _sizes("shape"),
    "expand": _expand,
    "unflatten": _unflatten,
    **dict.fromkeys(("zeros", "ones", "empty", "full", "rand", "randn"), _make("size")),
    **dict.fromkeys(("new_zeros", "new_ones", "new_empty", "new_full"), _make("size")),
    "slice": _slice,
    "narrow": _narrow,
    "select": _select,
    "split_with_sizes": _pieces("split_sizes"),
    "split": _split,
    "pad": _pad,
    "constant_pad_nd": _pad,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    **dict.fromkeys(_CONVOLUTIONS.split(), _depthwise),
}


def bound(operator: Any, positional: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by their names in the operator's schema, defaults left out."""
    names = [argument.name for argument in operator._schema.arguments]
    return {**dict(zip(names, positional, strict=False)), **keywords}
