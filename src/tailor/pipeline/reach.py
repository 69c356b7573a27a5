"""What narrowing can gain at all, before the profile and once more before the search: told in seconds, not in hours."""

from __future__ import annotations

from collections.abc import Mapping

from tailor.engines import open_device
from tailor.engines.subjects import network_subject
from tailor.errors import BudgetUnreachableError
from tailor.finalists import CandidateTimer
from tailor.latency.profile import Profile
from tailor.measuring.diagnosis import FLAT, diagnose
from tailor.measuring.narrow import LEAST, narrow_subjects
from tailor.measuring.workload import unequal_work
from tailor.methods import narrowest_widths
from tailor.pipeline.request import Line
from tailor.profiling import build_widths
from tailor.protocols import LatencyModel
from tailor.spec import Widths
from tailor.timing import settings_named

__all__ = ["check_reach", "check_reachable", "within_reach"]


def check_reach(line: Line) -> None:
    """Time the narrowest networks that the method may build beside the dense one; a resumed run has done so before.

    Raises:
        BudgetUnreachableError: all take more than the budget; says why, and what would help.
    """
    if line.folder.stored("profile", Profile) is not None:
        return
    request, graph = line.request, line.graph
    versions = dict.fromkeys(narrowest_widths(graph, line.method, least) for least in LEAST)
    smallest = next(iter(versions))
    batch = request.target.batch_size
    share = request.budget.share
    line.console.stage(f"check what narrowing can gain on {request.target}")
    narrow = [build_widths(request.model, graph, widths) for widths in versions]
    unequal = unequal_work(request.model, narrow[0], request.example_inputs)
    if unequal is not None:
        line.console.warn(unequal)
    found = diagnose(
        open_device(request.target),
        network_subject("dense", request.model, request.example_inputs, batch),
        narrow_subjects(narrow, request.example_inputs, request.target),
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


def check_reachable(
    line: Line, timer: CandidateTimer, candidates: Mapping[str, tuple[int, ...]], dense_ns: int, limit: int
) -> None:
    """Measure the narrowest network before the search, and say what is asked and what there is.

    Where that is over the budget, somewhat wider ones are measured too.

    Raises:
        BudgetUnreachableError: even the fastest of them is over the budget, as measured.
    """
    first, *wider = dict.fromkeys(_narrowest(candidates, least) for least in LEAST)
    ratio = timer.ratios([first])[0]
    if ratio.low > limit / dense_ns and wider:
        ratio = min(ratio, *timer.ratios(wider), key=lambda each: each.value)
    smallest = ratio.value * dense_ns
    line.console.say(
        f"dense {dense_ns / 1e6:.3f} ms (100 %), asked {limit / 1e6:.3f} ms ({limit / dense_ns:.1%}), "
        f"fastest possible {smallest / 1e6:.3f} ms ({ratio.value:.1%})"
    )
    if ratio.low > limit / dense_ns:
        free = "" if line.method.residual == "free" else " or free the residual streams with --residual free"
        raise BudgetUnreachableError(
            f"budget {line.request.budget.text} ({limit / 1e6:.3f} ms) cannot be reached: the fastest network that "
            f"{line.method.name} may build measures {smallest / 1e6:.3f} ms, {ratio.value:.1%} of dense; "
            f"ask for more time{free}",
            value=round(smallest),
        )


def within_reach(limit: int, latency: LatencyModel, candidates: Mapping[str, tuple[int, ...]]) -> int:
    """The limit, or what the narrowest network is predicted to take, which every search may begin with.

    That one or a little wider one was measured to keep the budget; so is what a search ends with.
    """
    return max(limit, latency.predict(_narrowest(candidates, 1)).ns)


def _narrowest(candidates: Mapping[str, tuple[int, ...]], least: int) -> Widths:
    """Every group at its first candidate of so many channels or none, else at the last one."""
    return Widths(
        {
            group: next((width for width in widths if width >= least or not width), widths[-1])
            for group, widths in candidates.items()
        }
    )
