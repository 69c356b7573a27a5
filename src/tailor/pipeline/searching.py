"""The stage that searches the widths: with predictions put right, until a fresh process confirms a winner."""

from __future__ import annotations

from dataclasses import replace

from tailor.engines import open_device
from tailor.errors import BudgetUnreachableError, InvalidBudgetError
from tailor.finalists import CandidateTimer, choose, given_away, lost_to_noise
from tailor.importance import KeptImportance
from tailor.latency.anchored import AnchoredLatency
from tailor.latency.profile import Profile
from tailor.methods import candidate_widths, strategy_of
from tailor.pipeline.again import TRIALS, after_refusal, before, with_room_left
from tailor.pipeline.aim import aim_below
from tailor.pipeline.anchoring import anchored, ground_of
from tailor.pipeline.confirming import Confirmed, confirmed
from tailor.pipeline.gradual import pruned_while_training
from tailor.pipeline.nearby import Nearby
from tailor.pipeline.reach import check_reachable, within_reach
from tailor.pipeline.request import Line
from tailor.pipeline.task import SearchTask
from tailor.pipeline.without_data import KEPT
from tailor.protocols import Evaluator
from tailor.records import SearchSummary, Trial, WidthsRecord
from tailor.search import EarlierFirst, Journal, Once, SearchProblem, SearchResult, run_search
from tailor.spec import KeepPlan, Widths
from tailor.training import AccuracyEvaluator, training_device

__all__ = ["search_widths", "searched"]


def searched(line: Line, profiled: Profile) -> tuple[Line, KeepPlan]:
    """How many channels and which: the best-scored structure that a fresh process finds within the budget.

    The line comes back with what is to be cut: the dense network, or the masked one where pruning went with training.
    """
    request, dense_ns = line.request, profiled.dense_ns
    limit = request.budget.limit_ns(dense_ns)
    if limit >= dense_ns:
        message = f"the dense network already takes {dense_ns / 1e6:.3f} ms, within {request.budget.text}; ask for less"
        raise InvalidBudgetError(message, value=request.budget.text)
    candidates = candidate_widths(line.graph, profiled.candidates, line.method)
    stored = line.folder.stored("keep", KeepPlan)
    if stored is not None:
        line, _ = pruned_while_training(line, profiled.latency, candidates, limit)  # in the run folder too
        line.console.say("widths: taken from the run folder")
        return line, stored
    timer = _timer(line, dense_ns)
    check_reachable(line, timer, candidates, dense_ns, limit)
    aim = aim_below(limit, line, profiled)
    task = SearchTask(line=line, profiled=profiled, timer=timer, candidates=candidates, limit_ns=aim)
    latency = anchored(task)
    line, candidates = pruned_while_training(line, latency, candidates, within_reach(aim, latency, candidates))
    task = replace(task, line=line, timer=_timer(line, dense_ns), candidates=candidates)
    result, end = _search(task, latency)
    earlier = before(line)
    line.folder.store("widths", WidthsRecord(dense=line.graph.dense_widths, pruned=end.keep.widths))
    line.folder.store(
        "search",
        SearchSummary(
            structures=earlier.tried + len(result.trials),
            seconds=earlier.seconds + result.seconds,
            best=end.winner.trial.number,
            limit_ns=limit,
            best_measured_ns=round(end.winner.ratio.value * dense_ns),
        ),
    )
    line.folder.store("keep", end.keep)  # last: it says that the search is over
    return line, end.keep


def _search(task: SearchTask, latency: AnchoredLatency) -> tuple[SearchResult, Confirmed]:
    """Search and confirm; what ends over the budget or far below it puts predictions right, for another search."""
    line = task.line
    while True:
        result, near = search_widths(task, latency)
        require_scored(result, task.limit_ns)
        line.console.stage("measure the finalists")
        trials = result.trials if near is None else near.searched
        finalists = choose(trials, task.timer, task.profiled.dense_ns, task.limit_ns, near=near)
        if near is not None:
            result = near.result
        corrected = with_room_left(task, latency, result, finalists)
        if corrected is None:
            end = confirmed(line, finalists)
            corrected = None if end.passed else after_refusal(task, latency, result, end.refused)
        if corrected is None:
            break
        latency = corrected
    if not end.passed:
        line.console.warn("no structure was found within the budget; going on with the fastest one measured")
    for told in (lost_to_noise, given_away):
        if (notice := told(finalists, end.winner, task.share)) is not None:
            line.console.warn(notice)
    return result, end


def _timer(line: Line, dense_ns: int) -> CandidateTimer:
    request = line.request
    return CandidateTimer(
        request.model,
        line.ranking,
        request.example_inputs,
        request.target,
        open_device(request.target),
        line.screening,
        dense_ns,
    )


def search_widths(task: SearchTask, latency: AnchoredLatency) -> tuple[SearchResult, Nearby | None]:
    """Run the method's strategy; also what tries structures near those it found, None where it computes its answer."""
    line, limit, candidates = task.line, task.limit_ns, task.candidates
    request, method = line.request, line.method
    measured = method.latency == "measured"
    problem = SearchProblem(
        candidates=candidates,
        latency=task.timer if measured else latency,
        evaluator=_evaluator(line),
        limit_ns=limit if measured else within_reach(limit, latency, candidates),
        seed=request.seed,
        facts={"graph": line.graph.fingerprint, "anchor": repr(latency.factor), **method.options},
    )
    ground = ground_of(line, latency, candidates)
    strategy = strategy_of(method, problem.space(latency), ground, seed=request.seed)
    computed = measured or isinstance(strategy, Once)
    if kept := before(line).kept:
        strategy = EarlierFirst(strategy, [Widths(widths) for widths in kept])
    line.console.stage(
        f"search with {method.name}: {strategy.planned} structures over {len(problem.space().free)} groups"
    )
    journal = Journal(line.folder.path / TRIALS)

    def progress(done: int, planned: int, best: Trial | None) -> None:
        score = "" if best is None or best.score is None else f", best {best.score:.1%}"
        line.console.progress(f"structures{score}", done, planned)

    result = run_search(problem, strategy, journal=journal, progress=progress)
    for notice in result.notices:
        line.console.warn(notice)
    line.console.say(f"{len(result.trials)} structures in {result.seconds:.0f} s")
    return result, None if computed else Nearby(task, latency, problem, journal, result)


def _evaluator(line: Line) -> Evaluator:
    """What scores structures: held-out images, or the weights alone."""
    request, method = line.request, line.method
    if method.fitness == KEPT or request.data is None:
        return KeptImportance(ranking=line.ranking, scale=method.scale)
    return AccuracyEvaluator(
        line.source,
        line.graph,
        line.importance,
        request.data,
        recalibration_images=method.recalibration_images,
        evaluation_images=method.evaluation_images,
        fitness=method.fitness,
        short_epochs=method.short_epochs,
        training_images=method.training_images,
        seed=request.seed,
        device=training_device(),
    )


def require_scored(result: SearchResult, limit: int) -> None:
    """Refuse to go on when every structure was over the limit as measured, and say what the fastest one takes.

    Raises:
        BudgetUnreachableError: no structure was scored.
    """
    fastest = result.fastest
    if result.best is None and fastest is not None:
        raise BudgetUnreachableError(
            f"none of {len(result.trials)} structures kept {limit / 1e6:.3f} ms: the fastest one takes "
            f"{fastest.latency.ns / 1e6:.3f} ms ({fastest.latency.source}); ask for more time or search longer",
            value=fastest.latency.ns,
        )
