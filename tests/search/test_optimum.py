"""The optimum strategy finds what listing finds, and stays within the limit where terms only hold nearby."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
from strategy_suite import UnevenAccuracy

from tailor.errors import InvalidOptionError
from tailor.latency.factors import Factor, Factors
from tailor.records import Estimate
from tailor.search import Optimum, OptimumConfig, SearchProblem, run_search
from tailor.search import optimum as module
from tailor.solver import TooWideError
from tailor.spec import Widths

CANDIDATES = {f"layer{index}": (4, 8, 12, 16) for index in range(8)}
VALUES = {f"layer{index}": tuple((index + 1) * width**0.5 for width in (4, 8, 12, 16)) for index in range(8)}


class ChainLatency:
    """Neighbouring layers multiply; `bent` adds what depends on the whole network and no term knows."""

    def __init__(self, bent: float = 0.0) -> None:
        self.bent = bent

    def predict(self, widths: Widths) -> Estimate:
        ns = round(self._pairs(widths) * (1 + self._bend(widths)))
        return Estimate(ns=ns, low_ns=ns, high_ns=ns, source="fitted")

    def factors(self, candidates: Mapping[str, tuple[int, ...]], around: Widths) -> Factors:
        scale = 1 + self._bend(around)
        terms = tuple(
            Factor(
                groups=(left, right),
                ns={(a, b): round(scale * a * b * 100) for a in candidates[left] for b in candidates[right]},
            )
            for left, right in itertools.pairwise(candidates)
        )
        return Factors(constant_ns=0, terms=terms, approximation=0.0)

    def _pairs(self, widths: Mapping[str, int]) -> int:
        return sum(100 * widths[left] * widths[right] for left, right in itertools.pairwise(CANDIDATES))

    def _bend(self, widths: Mapping[str, int]) -> float:
        return self.bent * sum(widths.values()) / 128


def problem_of(latency: ChainLatency, share: float) -> SearchProblem:
    dense = latency.predict(Widths(dict.fromkeys(CANDIDATES, 16))).ns
    return SearchProblem(
        candidates=CANDIDATES, latency=latency, evaluator=UnevenAccuracy(), limit_ns=round(share * dense), seed=0
    )


def value(widths: Mapping[str, int]) -> float:
    return sum(VALUES[group][CANDIDATES[group].index(widths[group])] for group in CANDIDATES)


def listed_best(problem: SearchProblem) -> float:
    every = (Widths(zip(CANDIDATES, row, strict=True)) for row in itertools.product(*CANDIDATES.values()))
    return max(value(widths) for widths in every if problem.latency.predict(widths).ns <= problem.limit_ns)


@pytest.mark.parametrize("share", [0.8, 0.4])
def test_the_first_structure_is_the_best_of_all(share: float) -> None:
    problem = problem_of(ChainLatency(), share)
    strategy = Optimum(problem.space(), VALUES, problem.latency, OptimumConfig(structures=4))
    result = run_search(problem, strategy)
    values = [value(trial.widths) for trial in result.trials]
    assert values[0] == pytest.approx(listed_best(problem))
    assert values == sorted(values, reverse=True)
    assert len({trial.widths for trial in result.trials}) == len(result.trials) == result.planned
    assert result.notices == ()


def test_mixed_integer_programming_takes_over_where_elimination_is_too_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of(ChainLatency(), 0.4)

    def refuse(problem: object) -> None:
        raise TooWideError("too wide", value=1)

    monkeypatch.setattr(module, "solve_front", refuse)
    strategy = Optimum(problem.space(), VALUES, problem.latency, OptimumConfig(structures=1))
    assert value(strategy.ask()[0].widths) == pytest.approx(listed_best(problem))


def test_terms_that_hold_only_nearby_are_taken_again_around_the_answer() -> None:
    problem = problem_of(ChainLatency(bent=0.6), 0.5)
    strategy = Optimum(problem.space(), VALUES, problem.latency, OptimumConfig(structures=1))
    found = strategy.ask()[0].widths
    assert problem.latency.predict(found).ns <= problem.limit_ns
    assert value(found) >= 0.99 * listed_best(problem)


class WatchedLatency(ChainLatency):
    """Remembers around which networks terms were asked for."""

    def __init__(self) -> None:
        super().__init__(bent=0.6)
        self.around: list[Widths] = []

    def factors(self, candidates: Mapping[str, tuple[int, ...]], around: Widths) -> Factors:
        self.around.append(around)
        return super().factors(candidates, around)


def test_each_tighter_limit_is_solved_around_the_answer_to_the_last() -> None:
    latency = WatchedLatency()
    problem = problem_of(latency, 0.5)
    answers = Optimum(problem.space(), VALUES, latency, OptimumConfig(structures=6, step=0.03))._found()
    around, known = problem.space().narrowest, 0
    for answer in answers:
        assert latency.around[known] == around  # the first network that terms were asked around for this limit
        around, known = answer, len(latency.around)


@pytest.mark.parametrize("changes", [{"structures": 0}, {"step": 0.0}, {"step": 1.0}])
def test_a_config_without_meaning_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(InvalidOptionError, match="must be"):
        OptimumConfig(**changes)
