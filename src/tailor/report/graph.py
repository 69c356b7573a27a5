"""A traced network as the record that inspect prints and a run folder keeps."""

from __future__ import annotations

from collections import defaultdict

from tailor.program import COUNTS
from tailor.records import BranchSummary, GraphSummary, GroupSummary
from tailor.spec import Branch, ChannelGraph, ChannelGroup

__all__ = ["graph_summary"]


def graph_summary(graph: ChannelGraph) -> GraphSummary:
    """Groups, pins and costs of a dense network; a layer's MACs are shared among the groups of its output channels."""
    dense = graph.dense_widths
    total, parameters = graph.macs(dense), graph.parameters(dense)
    owned: defaultdict[str, float] = defaultdict(float)
    for layer in graph.layers:
        macs, channels = layer.at(dense).macs * layer.calls, layer.outputs.size(dense)
        for name, per_unit in layer.outputs.terms:
            owned[name] += macs * per_unit * dense[name] / channels
    groups = tuple(
        GroupSummary(
            name=group.name,
            width=group.width,
            channels_per_unit=group.channels_per_unit,
            quantum=group.quantum,
            min_width=group.smallest,
            pinned=group.pinned,
            residual=group.residual,
            producers=group.producers,
            share=owned[group.name] / total if total else 0.0,
            members=_members(group),
            parameter_share=_leaving(graph, group) / parameters if parameters else 0.0,
        )
        for group in graph.groups
    )
    return GraphSummary(
        fingerprint=graph.fingerprint,
        groups=groups,
        layers=len(graph.layers),
        macs=total,
        parameters=parameters,
        channels=graph.channels(dense),
        form=graph.form,
        branches=tuple(
            BranchSummary(
                name=branch.name, groups=branch.groups, pinned=branch.pinned, share=_share(graph, branch) / (total or 1)
            )
            for branch in graph.branches
        ),
    )


def _members(group: ChannelGroup) -> tuple[str, ...]:
    """The modules with a place in the group, in the order of the run."""
    modules = (slot.path.partition(".parametrizations.")[0] for slot in group.slots)
    owners = (path if path in group.producers else path.rpartition(".")[0] or path for path in modules)
    return tuple(dict.fromkeys(owner.removesuffix(".weight") for owner in owners if owner != COUNTS))


def _leaving(graph: ChannelGraph, group: ChannelGroup) -> int:
    """Parameters that would be gone without any channel of the group."""
    dense = graph.dense_widths
    return graph.parameters(dense) - graph.parameters(dense.but({group.name: 0}))


def _share(graph: ChannelGraph, branch: Branch) -> int:
    """Multiply-accumulates of the layers inside a branch."""
    dense = graph.dense_widths
    inside = (layer for layer in graph.layers if f"{layer.name.partition('#')[0]}.weight" in branch.tensors)
    return sum(layer.at(dense).macs * layer.calls for layer in inside)
