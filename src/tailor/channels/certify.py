"""Every group is held against the law once; those that break it are found by halving, and pinned or blamed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch

from tailor.channels.branches import marked
from tailor.channels.proof import Finding, Proof
from tailor.channels.stress import Stressed
from tailor.errors import ProofError
from tailor.spec import Branch, ChannelGraph, ChannelGroup, KeepPlan, replace_groups

__all__ = ["HELD", "blame", "certified", "certified_branches"]

HELD = "the code holds a channel count or order"  # how the reason of every group begins that a cut has broken

Test = Callable[[Sequence[str]], Finding]


def certified(graph: ChannelGraph, proof: Proof, seed: int, *, thorough: bool) -> ChannelGraph:
    """The graph with every group pinned whose cut breaks the law.

    One random cut tells code that holds a count. Code that picks channels by position may survive it by luck: then
    `thorough` adds the complement, so that every unit is removed once, as far as the bounds allow.
    """
    names = [group.name for group in graph.prunable if group.smallest < group.width]
    if not names:
        return graph
    plan = _random_plan(graph, seed)
    failures: dict[str, Finding] = {}
    for chosen in (plan, _complement(graph, plan)) if thorough else (plan,):
        left = [name for name in names if name not in failures]
        failures |= _convicted(graph, left, _test(graph, chosen, proof))
    groups = [
        replace(group, pinned=_reason(failures[group.name])) if group.name in failures else group
        for group in graph.groups
    ]
    return replace_groups(graph, groups)


def certified_branches(graph: ChannelGraph, stand: Stressed) -> ChannelGraph:
    """The graph with every branch pinned whose removal breaks the law, alone or together with the others."""
    if not graph.removable:
        return graph
    proof = Proof(stand, graph)

    def without(names: Sequence[str]) -> Finding:
        lost = {group for branch in graph.removable if branch.name in names for group in branch.groups}
        kept = {group.name: () if group.name in lost else tuple(range(group.width)) for group in graph.groups}
        plan = KeepPlan(fingerprint=graph.fingerprint, kept=kept)
        finding = proof.check(plan)
        return proof.check_training(plan) if finding.holds else finding

    failures = _guilty([branch.name for branch in graph.removable], [], without)

    def judged(branch: Branch) -> Branch:
        if branch.name not in failures:
            return branch
        return replace(branch, pinned=f"the code around it needs its result: {failures[branch.name].detail}")

    return marked(graph, map(judged, graph.branches)) if failures else graph


def _reason(finding: Finding) -> str:
    """Where to look, without the numbers of this one cut."""
    place = f" in {finding.where}" if finding.where else ""
    seen = f"forward fails{place}" if finding.failure else "outputs differ"
    return f"{HELD}: {seen} after a cut"


def blame(graph: ChannelGraph, plan: KeepPlan, proof: Proof, finding: Finding) -> ProofError:
    """The error of a cut that breaks the law, naming the groups found by halving."""
    shortened = [g.name for g in graph.groups if len(plan.kept[g.name]) < g.width]
    found = _convicted(graph, shortened, _test(graph, plan, proof))
    guilty = list(found) or shortened
    names = ", ".join(repr(name) for name in guilty[:5]) + (" ..." if len(guilty) > 5 else "")
    return ProofError(
        f"the cut network is not the masked dense one ({finding.detail}); pin group {names}", value=guilty
    )


def _test(graph: ChannelGraph, plan: KeepPlan, proof: Proof) -> Test:
    """What the law says when only the suspects are cut as the plan has it."""
    return lambda suspects: proof.check(_only(graph, plan, suspects))


def _convicted(graph: ChannelGraph, names: Sequence[str], test: Test) -> dict[str, Finding]:
    """The groups to blame: those found near a failing forward and guilty alone, then by halving among the rest."""
    found: dict[str, Finding] = {}
    while True:
        rest = [name for name in names if name not in found]
        finding = test(rest)
        if finding.holds:
            return found
        alone = {name: test([name]) for name in _near(graph, finding.where) if name in rest}
        caught = {name: own for name, own in alone.items() if not own.holds}
        if not caught:
            return found | _guilty(rest, [], test)
        found |= caught


def _near(graph: ChannelGraph, module: str) -> list[str]:
    """The groups with a place in this module."""
    return [
        group.name
        for group in graph.groups
        if module and any(slot.path.startswith(f"{module}.") for slot in group.slots)
    ]


def _guilty(names: Sequence[str], innocent: Sequence[str], test: Test) -> dict[str, Finding]:
    """The groups without which the others can be cut together: few tests when few are guilty.

    `innocent` are groups that hold together; they are cut along, so that groups which are harmless alone and wrong
    together are found too.
    """
    finding = test([*innocent, *names])
    if finding.holds or not names:
        return {}
    if len(names) == 1:
        return {names[0]: finding}
    middle = len(names) // 2
    left = _guilty(names[:middle], innocent, test)
    spared = [name for name in names[:middle] if name not in left]
    return left | _guilty(names[middle:], [*innocent, *spared], test)


def _random_plan(graph: ChannelGraph, seed: int) -> KeepPlan:
    """Keeps a random 40 to 75 % of every group: one half exactly could agree with a count in the code by chance."""
    generator = torch.Generator().manual_seed(seed)
    kept = {}
    for group in graph.groups:
        share = 0.4 + 0.35 * float(torch.rand((), generator=generator))
        width = max(group.smallest, int(group.width * share) // group.quantum * group.quantum)
        order = torch.randperm(group.width, generator=generator)
        kept[group.name] = tuple(sorted(order[:width].tolist()))
    return KeepPlan(fingerprint=graph.fingerprint, kept=kept)


def _complement(graph: ChannelGraph, plan: KeepPlan) -> KeepPlan:
    """Keeps what the plan removes, and as many of the others as the bounds ask for."""
    kept = {}
    for group in graph.groups:
        chosen = set(plan.kept[group.name])
        gone = [unit for unit in range(group.width) if unit not in chosen]
        least = max(group.smallest, -(-len(gone) // group.quantum) * group.quantum)
        kept[group.name] = tuple(sorted([*gone, *plan.kept[group.name][: max(0, least - len(gone))]]))
    return KeepPlan(fingerprint=plan.fingerprint, kept=kept)


def _only(graph: ChannelGraph, plan: KeepPlan, chosen: Iterable[str]) -> KeepPlan:
    """The plan with every other group whole."""
    shortened = set(chosen)

    def kept(group: ChannelGroup) -> tuple[int, ...]:
        return plan.kept[group.name] if group.name in shortened else tuple(range(group.width))

    return KeepPlan(fingerprint=plan.fingerprint, kept={group.name: kept(group) for group in graph.groups})
