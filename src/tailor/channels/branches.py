"""Residual branches that can go as a whole: what only one operand of an addition depends on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from torch import nn

from tailor.calling import Inputs
from tailor.channels.copying import named_tensors
from tailor.channels.flow import Addition, Run, followed
from tailor.channels.identity import module_name
from tailor.spec import Axis, Branch, ChannelGraph, ChannelGroup, Layer

__all__ = ["marked", "with_branches"]


def with_branches(graph: ChannelGraph, model: nn.Module, inputs: Inputs) -> ChannelGraph:
    """The graph with its residual branches, those that must stay with the reason; nothing is proven yet.

    A branch is one operand of an addition with every step that nothing else reads. It has groups of its own and takes
    no part of the shape of the sum.
    """
    finder = _Finder(graph, model, followed(model, inputs))
    found = [branch for number in range(len(finder.run.additions)) for branch in finder.at(number)]
    return marked(graph, _named(_innermost(found)))


def marked(graph: ChannelGraph, branches: Iterable[Branch]) -> ChannelGraph:
    """The graph with these branches: their groups are removable, their layers know what they go with."""
    branches = tuple(branches)
    home = {group: branch for branch in branches if branch.pinned is None for group in branch.groups}
    modules = {module: branch for branch in branches if branch.pinned is None for module in branch.modules}

    def group(old: ChannelGroup) -> ChannelGroup:
        return replace(old, removable=old.name in home)

    def layer(old: Layer) -> Layer:
        branch = _owner(module_name(f"{old.name.partition('#')[0]}.weight"), modules)
        inputs, outputs = (replace(axis, within=_inside(branch, old)) for axis in (old.inputs, old.outputs))
        return replace(old, inputs=inputs, outputs=outputs)

    return replace(
        graph, groups=tuple(map(group, graph.groups)), layers=tuple(map(layer, graph.layers)), branches=branches
    )


def _owner(path: str, modules: Mapping[str, Branch]) -> Branch | None:
    return next((branch for name, branch in modules.items() if _under(path, name)), None)


def _under(path: str, module: str) -> bool:
    return path == module or path.startswith(f"{module}.")


def _inside(branch: Branch | None, layer: Layer) -> str | None:
    """A group of the branch, one that the layer reads or writes if there is one: it has to be asked anyway."""
    if branch is None:
        return None
    axes: tuple[Axis, Axis] = (layer.outputs, layer.inputs)
    own = (group for axis in axes for group, _ in axis.terms if group in branch.groups)
    return next(own, branch.groups[0])


@dataclass(frozen=True, slots=True, eq=False)
class _Finder:
    graph: ChannelGraph
    model: nn.Module
    run: Run

    def at(self, number: int) -> list[Branch]:
        """The branches of one addition; of two that could go, the one with more groups."""
        addition = self.run.additions[number]
        found = [branch for operand in (0, 1) if (branch := self._branch(number, addition, operand)) is not None]
        free = sorted((branch for branch in found if branch.pinned is None), key=lambda branch: -len(branch.groups))
        reason = "the other operand of its addition can go"
        return [b if b in free[:1] or b.pinned is not None else replace(b, pinned=reason) for b in found]

    def _branch(self, number: int, addition: Addition, operand: int) -> Branch | None:
        end, other = addition.operands[operand], addition.operands[1 - operand]
        if end is None or end == other or not addition.whole[1 - operand]:
            return None
        inside = self._only_for(end, addition.step)
        calls = self._calls(inside)
        if not self._vanishes(end, inside, calls):
            return None
        modules = list(dict.fromkeys(id(self.run.calls[call].module) for call in calls))
        names = {id(module): name for name, module in self.model.named_modules()}
        paths = tuple(names[module] for module in modules)
        tensors, shared = self._tensors(set(paths))
        groups = [g for g in self.graph.groups if g.slots and all(slot.path in tensors for slot in g.slots)]
        if not groups:
            return None
        pinned = next((f"its group {g.name!r} must stay: {g.pinned}" for g in groups if g.pinned is not None), None)
        caller = None if addition.caller is None else names[id(self.run.calls[addition.caller].module)]
        return Branch(
            name=caller or paths[0],
            groups=tuple(group.name for group in groups),
            modules=paths,
            tensors=frozenset(tensors),
            addition=number,
            operand=operand,
            pinned="it shares weights with what stays" if shared else pinned,
        )

    def _only_for(self, end: int, addition: int) -> set[int]:
        """The steps whose results reach the addition through this operand, and nothing else."""
        if self.run.steps[end].readers != [addition]:
            return set()
        inside = {end}
        for number in range(end - 1, -1, -1):
            readers = self.run.steps[number].readers
            if readers and inside.issuperset(readers):
                inside.add(number)
        return inside

    def _calls(self, inside: set[int]) -> list[int]:
        """The outermost module calls of which nothing is left over, each of modules that are called nowhere else."""
        steps, calls = self.run.steps, self.run.calls

        def whole(index: int) -> bool:
            call = calls[index]
            own = range(call.first, call.last)
            return bool(call.results) and inside.issuperset(call.results) and all(
                number in inside or not steps[number].readers for number in own
            )

        lost = {id(call.module) for index, call in enumerate(calls) if not whole(index)}
        chosen: list[int] = []
        covered: set[int] = set()
        for index, call in enumerate(calls):
            if call.parent in covered or id(call.module) not in lost:
                covered.add(index)
                if call.parent not in covered:
                    chosen.append(index)
        return chosen

    def _vanishes(self, end: int, inside: set[int], calls: list[int]) -> bool:
        """Whether nothing arrives at the addition when these calls return nothing (a sum with a tensor is a tensor)."""
        empty = {n for index in calls for n in range(self.run.calls[index].first, self.run.calls[index].last)}
        empty |= {number for index in calls for number in self.run.calls[index].results}
        sums = {addition.step: addition.operands for addition in self.run.additions}
        for number in sorted(inside):
            if number not in empty and (read := sums.get(number, self.run.steps[number].sources)):
                reached = [source in empty for source in read]
                if all(reached) if number in sums else any(reached):
                    empty.add(number)
        return end in empty

    def _tensors(self, modules: set[str]) -> tuple[set[str], bool]:
        """State-dict keys of what these modules own, and whether anything else owns some of it too."""
        named = named_tensors(self.model)
        inside: set[int] = set()
        outside: set[int] = set()
        for name, module in self.model.named_modules(remove_duplicate=False):
            owned = {id(t) for t in (*module._parameters.values(), *module._buffers.values()) if t is not None}
            (inside if any(_under(name, gone) for gone in modules) else outside).update(owned)
        return {path for path, tensor in named.items() if id(tensor) in inside}, bool(inside & outside)


def _innermost(branches: list[Branch]) -> list[Branch]:
    """Branches that hold another removable one stay: both at once would be two answers to one width."""
    free = [branch for branch in branches if branch.pinned is None]

    def held(branch: Branch) -> Branch:
        inner = next((b for b in free if b is not branch and b.tensors < branch.tensors), None)
        if branch.pinned is not None or inner is None:
            return branch
        return replace(branch, pinned=f"it holds another branch, {inner.name!r}")

    return [held(branch) for branch in branches]


def _named(branches: list[Branch]) -> list[Branch]:
    """Names made unique: a second branch of one module gets "#2"."""
    seen: dict[str, int] = {}
    named = []
    for branch in branches:
        seen[branch.name] = seen.get(branch.name, 0) + 1
        count = seen[branch.name]
        named.append(replace(branch, name=branch.name if count == 1 else f"{branch.name}#{count}"))
    return named
