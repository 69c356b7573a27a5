"""What is searched, and the only loop: ask, check the latency, score, journal, tell."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tailor.errors import BudgetUnreachableError, MeasurementError, RunFolderError
from tailor.protocols import Evaluator, LatencyModel, Proposal, Strategy
from tailor.records import Trial
from tailor.search.journal import Journal
from tailor.search.space import SearchSpace
from tailor.spec import Widths

__all__ = ["Progress", "SearchProblem", "SearchResult", "run_search", "try_more"]

Progress = Callable[[int, int, Trial | None], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SearchProblem:
    """Which widths may be chosen, how fast they must be, and how good they are.

    `latency` judges every trial: a prediction, or a measurement of the whole candidate. `facts` names whatever else
    the scores depend on (graph, fitness, data ...), so that a journal is never replayed into another search.
    """

    candidates: Mapping[str, tuple[int, ...]]
    latency: LatencyModel
    evaluator: Evaluator
    limit_ns: int
    seed: int
    facts: Mapping[str, str] = field(default_factory=dict)

    def space(self, predicted: LatencyModel | None = None) -> SearchSpace:
        """The space that strategies draw from.

        Where `latency` measures whole candidates, give the fast `predicted` model here: strategies reject many
        structures for every one they propose, and a measured trial over the limit is left without a score.
        """
        return SearchSpace(self.candidates, predicted or self.latency, self.limit_ns)

    def fingerprint(self, strategy: Strategy) -> str:
        """Differs when seed, candidates, limit, facts or the strategy's options do."""
        parts = {
            "candidates": {group: list(widths) for group, widths in self.candidates.items()},
            "facts": dict(self.facts),
            "limit_ns": self.limit_ns,
            "seed": self.seed,
            "strategy": strategy.description,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def check_reachable(self) -> None:
        """Refuse a limit that even the narrowest structure misses.

        Raises:
            BudgetUnreachableError: with that structure's latency.
        """
        narrowest = self.space().narrowest
        fastest = self.latency.predict(narrowest)
        if fastest.ns > self.limit_ns:
            message = (
                f"the budget asks for {self.limit_ns / 1e6:.3f} ms, but the narrowest network allowed takes "
                f"{fastest.ns / 1e6:.3f} ms ({fastest.source}); ask for more time or free more groups"
            )
            raise BudgetUnreachableError(message, value=fastest.ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """All trials in order, and the seconds they took (those of earlier, interrupted sessions included).

    `notices` are lines the user should see: a repaired journal, a space that ran out.
    """

    trials: tuple[Trial, ...]
    seconds: float
    planned: int
    limit_ns: int
    notices: tuple[str, ...] = ()

    @property
    def best(self) -> Trial | None:
        """Highest score, of equals the faster, then the earlier; None when no trial kept the limit."""
        kept = [trial for trial in self.trials if _counts(trial, self.limit_ns)]
        return max(kept, key=_merit, default=None)

    @property
    def fastest(self) -> Trial | None:
        """Lowest latency, whether within the limit or not."""
        return min(self.trials, key=lambda trial: trial.latency.ns, default=None)


def run_search(
    problem: SearchProblem, strategy: Strategy, *, journal: Journal | None = None, progress: Progress | None = None
) -> SearchResult:
    """Search until the strategy is done; journalled trials are told again instead of being evaluated again.

    `progress(done, planned, best so far)` is called after every trial. What the journal holds beyond the strategy's
    own trials was tried after it was done (see `try_more`) and comes back with them.

    Raises:
        BudgetUnreachableError: even the narrowest structure is over the limit (before any trial).
        RunFolderError: the journal belongs to another search.
        MeasurementError: the evaluator gave a score that is no number.
    """
    problem.check_reachable()
    recorded = journal.replay(problem.fingerprint(strategy)) if journal else ()
    started = time.perf_counter()
    trials: list[Trial] = []
    best: Trial | None = None
    while proposals := strategy.ask():
        population: list[Trial] = []
        for proposal in proposals:
            trial = _next_trial(problem, proposal, len(trials), recorded, journal)
            trials.append(trial)
            population.append(trial)
            best = max((t for t in (best, trial) if t and _counts(t, problem.limit_ns)), key=_merit, default=None)
            if progress:
                progress(len(trials), strategy.planned, best)
        strategy.tell(population)
    earlier = sum(trial.seconds for trial in recorded)
    return SearchResult(
        trials=(*trials, *recorded[len(trials) :]),
        seconds=earlier + time.perf_counter() - started,
        planned=strategy.planned,
        limit_ns=problem.limit_ns,
        notices=_notices(journal, len(trials), strategy.planned),
    )


def try_more(
    problem: SearchProblem, result: SearchResult, proposals: Sequence[Proposal], *, journal: Journal | None = None
) -> SearchResult:
    """The result with these structures judged too, each in the journal before the next.

    Raises:
        MeasurementError: the evaluator gave a score that is no number.
    """
    started = time.perf_counter()
    trials = list(result.trials)
    for proposal in proposals:
        trials.append(_next_trial(problem, proposal, len(trials), (), journal))
    return replace(result, trials=tuple(trials), seconds=result.seconds + time.perf_counter() - started)


def _next_trial(
    problem: SearchProblem, proposal: Proposal, number: int, recorded: tuple[Trial, ...], journal: Journal | None
) -> Trial:
    """The journalled trial of this number, or a new one that goes into the journal."""
    if number < len(recorded):
        trial = recorded[number]
        if (trial.widths, trial.origin, trial.cycle) != (proposal.widths, proposal.origin, proposal.cycle):
            message = f"journal and search disagree at trial {number}; the latency model changed, use a new folder"
            raise RunFolderError(message, value=number)
        return trial
    trial = _tried(problem, proposal, number)
    if journal:
        journal.append(trial)
    return trial


def _tried(problem: SearchProblem, proposal: Proposal, number: int) -> Trial:
    """One structure, judged: over the limit it is not scored, unless the strategy goes beyond it on its way."""
    started = time.perf_counter()
    widths = Widths(proposal.widths)
    latency = problem.latency.predict(widths)
    wanted = proposal.beyond or latency.ns <= problem.limit_ns
    score = problem.evaluator.score(widths) if wanted else None
    if score is not None and not math.isfinite(score):
        raise MeasurementError(f"trial {number} was scored {score}; {dict(widths)} cannot be compared", value=score)
    return Trial(
        number=number,
        cycle=proposal.cycle,
        origin=proposal.origin,
        widths=widths,
        latency=latency,
        score=score,
        seconds=time.perf_counter() - started,
    )


def _counts(trial: Trial, limit_ns: int) -> bool:
    return trial.score is not None and trial.latency.ns <= limit_ns


def _merit(trial: Trial) -> tuple[float, int, int]:
    score = -math.inf if trial.score is None else trial.score
    return score, -trial.latency.ns, -trial.number


def _notices(journal: Journal | None, done: int, planned: int) -> tuple[str, ...]:
    repaired = (journal.notice,) if journal and journal.notice else ()
    if done >= planned:
        return repaired
    ran_out = f"no further structure fits the limit: the search ended after {done} of {planned} structures"
    return (*repaired, ran_out)
