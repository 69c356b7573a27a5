"""What a residual branch is worth: its own groups, and the part of the stream that its last norm scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tailor.spec import ChannelGraph, ChannelGroup, Slot, replace_groups

__all__ = ["branch_values", "valued_branches", "with_branch_outputs"]

_OUTPUT = " (output of the branch)"


def with_branch_outputs(graph: ChannelGraph) -> ChannelGraph:
    """The graph with one more group per removable branch: its last layer's channels, apart from the rest of the stream.

    Such groups are there to be scored, not to be cut.
    """
    outputs = []
    for branch in graph.removable:
        for group in graph.groups:
            slots = tuple(slot for slot in group.slots if slot.path in branch.tensors)
            if group.name not in branch.groups and any(slot.role == "out" for slot in slots):
                outputs.append(_output(branch.name, group, slots))
    return replace_groups(graph, [*graph.groups, *outputs])


def _output(branch: str, group: ChannelGroup, slots: tuple[Slot, ...]) -> ChannelGroup:
    return replace(group, name=f"{branch}/{group.name}{_OUTPUT}", pinned=None, slots=slots)


def branch_values(graph: ChannelGraph, scores: Mapping[str, npt.NDArray[np.float64]]) -> dict[str, float]:
    """The summed scores of each removable branch's output; 0 where it has none of its own."""
    return {
        branch.name: float(
            sum(
                own.sum()
                for name, own in scores.items()
                if name.startswith(f"{branch.name}/") and name.endswith(_OUTPUT)
            )
        )
        for branch in graph.removable
    }


def valued_branches(
    values: Mapping[str, tuple[float, ...]],
    candidates: Mapping[str, Sequence[int]],
    graph: ChannelGraph,
    branches: Mapping[str, float],
) -> dict[str, tuple[float, ...]]:
    """Values per candidate with the branch's own added wherever it stays: at every width above 0 of its first group.

    MDP (arXiv 2406.12079) multiplies the importance of all of a block's layers, the last included, by whether it stays.
    """
    found = {group: tuple(own) for group, own in values.items()}
    for branch in graph.removable:
        first, worth = branch.groups[0], branches.get(branch.name, 0.0)
        if 0 in candidates[first]:
            pairs = zip(candidates[first], found[first], strict=True)
            found[first] = tuple(value + worth if width else value for width, value in pairs)
    return found
