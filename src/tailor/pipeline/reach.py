"""What narrowing can gain at all, measured before the profile: a flat target is told in seconds, not after an hour."""

from __future__ import annotations

from tailor.engines import open_device
from tailor.engines.subjects import network_subject
from tailor.errors import BudgetUnreachableError
from tailor.latency.profile import Profile
from tailor.measuring.diagnosis import FLAT, diagnose
from tailor.measuring.workload import unequal_work
from tailor.methods import narrowest_widths
from tailor.pipeline.request import Line
from tailor.profiling import build_widths
from tailor.timing import settings_named

__all__ = ["check_reach"]


def check_reach(line: Line) -> None:
    """Time the narrowest network that the method may build beside the dense one; a resumed run has done so before.

    Raises:
        BudgetUnreachableError: it takes more than the budget; says why, and what would help.
    """
    if line.folder.stored("profile", Profile) is not None:
        return
    request, graph = line.request, line.graph
    smallest = narrowest_widths(graph, line.method)
    batch = request.target.batch_size
    share = request.budget.share
    line.console.stage(f"check what narrowing can gain on {request.target}")
    narrowest = build_widths(request.model, graph, smallest)
    unequal = unequal_work(request.model, narrowest, request.example_inputs)
    if unequal is not None:
        line.console.warn(unequal)
    found = diagnose(
        open_device(request.target),
        network_subject("dense", request.model, request.example_inputs, batch),
        network_subject("narrowest", narrowest, request.example_inputs, batch),
        prunable={
            layer.name
            for layer in graph.layers
            for axis in (layer.inputs, layer.outputs)
            if any(smallest[name] < graph[name].width for name, _ in axis.terms)
        },
        settings=settings_named("quick", seed=request.seed),
        above=FLAT if share is None else min(FLAT, share),
    )
    if found is None:
        return
    for sentence in found.sentences:
        line.console.warn(sentence)
    if share is not None and found.narrowest.low > share:
        raise BudgetUnreachableError(
            f"budget {request.budget.text} cannot be reached with {line.method.name}: {'; '.join(found.sentences)}",
            value=found.narrowest.value,
        )
