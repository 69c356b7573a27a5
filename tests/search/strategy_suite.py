"""The laws that every strategy keeps; a test class per strategy inherits them and says how to make one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import pytest

from tailor.errors import BudgetUnreachableError, MeasurementError, RunFolderError
from tailor.protocols import Strategy
from tailor.records import Estimate, Trial
from tailor.search import Journal, SearchProblem, SearchResult, SearchSpace, run_search
from tailor.spec import Widths

CANDIDATES = {f"layer{index}": (8, 16, 24, 32, 48, 64) for index in range(8)} | {"stem": (16,)}
DENSE_NS = 64 * 8 * 1000


class LinearLatency:
    """A microsecond per channel."""

    def __init__(self) -> None:
        self.calls = 0

    def predict(self, widths: Widths) -> Estimate:
        self.calls += 1
        ns = 1000 * sum(width for group, width in widths.items() if group != "stem")
        return Estimate(ns=ns, low_ns=ns, high_ns=ns, source="fitted")


class UnevenAccuracy:
    """Every group gains from width, late groups more: the best structure under a limit is not an even one."""

    def __init__(self) -> None:
        self.scored: list[Widths] = []

    def score(self, widths: Widths) -> float:
        self.scored.append(widths)
        return sum((index + 1) * widths[f"layer{index}"] ** 0.5 for index in range(8)) / 1000


def problem_of(
    *,
    candidates: Mapping[str, tuple[int, ...]] = CANDIDATES,
    share: float = 0.5,
    seed: int = 0,
    facts: Mapping[str, str] | None = None,
) -> SearchProblem:
    return SearchProblem(
        candidates=candidates,
        latency=LinearLatency(),
        evaluator=UnevenAccuracy(),
        limit_ns=int(share * DENSE_NS),
        seed=seed,
        facts=facts or {},
    )


def comparable(result: SearchResult) -> list[tuple[int, int, str, Widths, Estimate, float | None]]:
    """Trials without their seconds, which no two runs share."""
    return [(t.number, t.cycle, t.origin, Widths(t.widths), t.latency, t.score) for t in result.trials]


class StrategySuite(ABC):
    """Inherit as `class TestX(StrategySuite)` and implement `make`: a strategy that plans 40 structures."""

    @abstractmethod
    def make(self, space: SearchSpace, *, seed: int) -> Strategy: ...

    def search(self, problem: SearchProblem, journal: Journal | None = None) -> SearchResult:
        return run_search(problem, self.make(problem.space(), seed=problem.seed), journal=journal)

    def test_proposes_what_it_planned_and_nothing_twice(self) -> None:
        result = self.search(problem_of())
        assert len(result.trials) == result.planned == 40
        assert len({trial.widths for trial in result.trials}) == 40
        assert [trial.number for trial in result.trials] == list(range(40))
        assert result.notices == ()

    @pytest.mark.parametrize("share", [0.9, 0.5, 0.25, 0.2])
    def test_proposes_only_candidates_within_the_limit(self, share: float) -> None:
        problem = problem_of(share=share)
        result = self.search(problem)
        assert len(result.trials) == 40
        for trial in result.trials:
            assert trial.widths.keys() == CANDIDATES.keys()
            assert all(width in CANDIDATES[group] for group, width in trial.widths.items())
            assert problem.latency.predict(trial.widths).ns <= problem.limit_ns
            assert trial.score is not None

    def test_ask_is_pure(self) -> None:
        problem = problem_of()
        strategy = self.make(problem.space(), seed=0)
        for _ in range(3):
            first = strategy.ask()
            assert first == strategy.ask()
            strategy.tell(run_population(problem, strategy))

    def test_same_seed_same_trials_other_seed_other_trials(self) -> None:
        first, again, other = (self.search(problem_of(seed=seed)) for seed in (3, 3, 4))
        assert comparable(first) == comparable(again)
        assert comparable(first) != comparable(other)

    @pytest.mark.parametrize("killed_after", [0, 1, 9, 10, 25, 39])
    def test_a_killed_search_resumes_as_if_never_killed(self, tmp_path, killed_after: int) -> None:
        whole = self.search(problem_of())
        journal = Journal(tmp_path / "trials.jsonl")
        with pytest.raises(KeyboardInterrupt):
            run_search(
                killed := problem_of(),
                self.make(killed.space(), seed=0),
                journal=KilledJournal(journal.path, killed_after),
            )
        resumed = problem_of()
        assert comparable(self.search(resumed, journal)) == comparable(whole)
        assert len(resumed.evaluator.scored) == 40 - killed_after  # nothing is evaluated again

    def test_a_finished_search_is_only_read(self, tmp_path) -> None:
        first = self.search(problem_of(), Journal(tmp_path / "trials.jsonl"))
        again = problem_of()
        second = self.search(again, Journal(tmp_path / "trials.jsonl"))
        assert second.trials == first.trials
        assert second.best == first.best
        assert again.evaluator.scored == []

    def test_a_journal_of_another_search_is_refused(self, tmp_path) -> None:
        self.search(problem_of(facts={"fitness": "recalibrated"}), Journal(tmp_path / "trials.jsonl"))
        others = (
            problem_of(facts={"fitness": "recalibrated"}, seed=1),
            problem_of(facts={"fitness": "recalibrated"}, share=0.6),
            problem_of(facts={"fitness": "short-training"}),
            problem_of(facts={"fitness": "recalibrated"}, candidates=CANDIDATES | {"layer0": (8, 64)}),
        )
        for other in others:
            with pytest.raises(RunFolderError, match="belongs to another search"):
                self.search(other, Journal(tmp_path / "trials.jsonl"))

    def test_a_small_space_is_searched_whole_and_said_to_be_used_up(self) -> None:
        candidates = dict.fromkeys(("layer0", "layer1", "layer2", "layer3"), (16, 64))
        candidates |= {f"layer{index}": (8,) for index in range(4, 8)}
        problem = problem_of(candidates=candidates, share=1 / 512 * (32 + 3 * 64 + 16))
        result = self.search(problem)
        assert len(result.trials) == 15  # all of 2**4 but the dense one
        assert result.notices == (
            "no further structure fits the limit: the search ended after 15 of 40 structures",
        )

    def test_an_unreachable_limit_is_told_before_any_trial(self, tmp_path) -> None:
        problem = problem_of(share=0.1)
        with pytest.raises(BudgetUnreachableError, match=r"asks for 0.051 ms.*takes 0.064 ms \(fitted\)"):
            self.search(problem, Journal(tmp_path / "trials.jsonl"))
        assert problem.evaluator.scored == []
        assert not (tmp_path / "trials.jsonl").exists()

    def test_a_score_that_is_no_number_stops_the_search(self) -> None:
        problem = problem_of()
        problem.evaluator.score = lambda widths: float("nan")
        with pytest.raises(MeasurementError, match="trial 0 was scored nan"):
            self.search(problem)


class KilledJournal(Journal):
    """Stands for SIGKILL: so many trials reach the disk, and the process is gone."""

    def __init__(self, path, survivors: int) -> None:
        super().__init__(path)
        self.survivors = survivors

    def append(self, trial: Trial) -> None:
        if self.survivors == 0:
            raise KeyboardInterrupt
        self.survivors -= 1
        super().append(trial)


def run_population(problem: SearchProblem, strategy: Strategy) -> list[Trial]:
    """What the loop would tell the strategy about its next population."""
    return [
        Trial(
            number=number,
            cycle=proposal.cycle,
            origin=proposal.origin,
            widths=proposal.widths,
            latency=problem.latency.predict(proposal.widths),
            score=problem.evaluator.score(proposal.widths),
            seconds=0.0,
        )
        for number, proposal in enumerate(strategy.ask())
    ]
