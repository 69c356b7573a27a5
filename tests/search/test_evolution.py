"""LACP's evolution: the paper's sizes, and children that descend from the best."""

import dataclasses
from collections import Counter

import pytest
from strategy_suite import LinearLatency, StrategySuite, problem_of

from tailor.errors import InvalidOptionError
from tailor.records import Estimate
from tailor.search import Evolution, EvolutionConfig, RandomSearch, RandomSearchConfig, SearchSpace, run_search
from tailor.spec import Widths

SMALL = EvolutionConfig(cycles=4, population=10, mutations=5, crossovers=5, elite=4)


class TestEvolution(StrategySuite):
    def make(self, space: SearchSpace, *, seed: int) -> Evolution:
        return Evolution(space, SMALL, seed=seed)


def test_the_defaults_are_the_papers_300_structures():
    problem = problem_of()
    result = run_search(problem, Evolution(problem.space(), EvolutionConfig(repair=False), seed=0))
    counts = Counter((trial.cycle, trial.origin) for trial in result.trials)
    assert len(result.trials) == 300
    assert counts[0, "random"] == 30
    assert counts[1, "mutation"] == counts[1, "crossover"] == 15
    assert sum(counts[cycle, "mutation"] for cycle in range(1, 10)) == 9 * 15
    stuck = sum(counts[cycle, "random"] for cycle in range(1, 10))  # parents too alike to give a new child
    assert sum(counts[cycle, "crossover"] for cycle in range(1, 10)) == 9 * 15 - stuck
    assert stuck <= 20


def test_crossover_children_hold_only_widths_of_the_elite():
    problem = problem_of()
    trials = run_search(problem, Evolution(problem.space(), dataclasses.replace(SMALL, repair=False), seed=1)).trials
    elite = sorted((t for t in trials if t.cycle == 0), key=lambda t: -t.score)[: SMALL.elite]
    for child in (t for t in trials if t.cycle == 1 and t.origin == "crossover"):
        assert all(width in {parent.widths[group] for parent in elite} for group, width in child.widths.items())


def test_a_mutated_child_differs_from_some_elite_parent_in_few_groups():
    problem = problem_of()
    trials = run_search(problem, Evolution(problem.space(), EvolutionConfig(repair=False), seed=2)).trials
    elite = sorted((t for t in trials if t.cycle == 0), key=lambda t: -t.score)[:10]
    children = [t for t in trials if t.cycle == 1 and t.origin == "mutation"]
    changes = [min(sum(c.widths[g] != p.widths[g] for g in c.widths) for p in elite) for c in children]
    assert min(changes) >= 1
    assert sum(changes) / len(changes) < 2.5  # 8 free groups at rate 0.1, at least one: 1.4 on average


@pytest.mark.parametrize("share", [0.8, 0.4, 0.2])
def test_repaired_children_leave_no_room_within_the_limit(share):
    problem = problem_of(share=share)
    space = problem.space()
    trials = run_search(problem, Evolution(space, EvolutionConfig(), seed=2)).trials
    children = [trial for trial in trials if trial.origin in ("mutation", "crossover")]
    assert len(children) > 100
    for child in children:
        for group, steps in problem.candidates.items():
            wider = [width for width in steps if width > child.widths[group]]
            assert not wider or not space.feasible(child.widths.but({group: wider[0]}))


def test_evolution_beats_random_search_at_equal_structures():
    """The reason to have it: over 20 seeds its winner is better nearly always."""
    wins = 0
    for seed in range(20):
        problem = problem_of(seed=seed)
        evolved = run_search(problem, Evolution(problem.space(), EvolutionConfig(cycles=5), seed=seed))
        drawn = run_search(problem, RandomSearch(problem.space(), RandomSearchConfig(structures=150), seed=seed))
        wins += evolved.best.score > drawn.best.score
    assert wins >= 18


def test_trials_over_the_measured_limit_get_no_score_and_no_children():
    """Predicted says fast, measured says slow for every structure with a wide layer0."""

    class Measured(LinearLatency):
        def predict(self, widths: Widths) -> Estimate:
            ns = super().predict(widths).ns + (10**9 if widths["layer0"] > 16 else 0)
            return Estimate(ns=ns, low_ns=ns, high_ns=ns)

    base = problem_of()
    problem = type(base)(
        candidates=base.candidates,
        latency=Measured(),
        evaluator=base.evaluator,
        limit_ns=base.limit_ns,
        seed=0,
    )
    all_are_elite = EvolutionConfig(cycles=4, population=10, mutations=5, crossovers=5, elite=40, repair=False)
    result = run_search(problem, Evolution(problem.space(LinearLatency()), all_are_elite, seed=0))
    slow = [trial for trial in result.trials if trial.widths["layer0"] > 16]
    assert slow
    assert all(trial.score is None for trial in slow)
    assert all(trial.score is not None for trial in result.trials if trial not in slow)
    assert result.best.widths["layer0"] <= 16
    assert all(t.widths["layer0"] <= 16 for t in result.trials if t.origin == "crossover")


def test_equal_scores_prefer_the_faster_then_the_earlier_parent():
    problem = problem_of()
    problem.evaluator.score = lambda widths: 1.0
    result = run_search(problem, Evolution(problem.space(), SMALL, seed=0))
    least = min(trial.latency.ns for trial in result.trials)
    assert result.best == next(trial for trial in result.trials if trial.latency.ns == least)
    assert result.fastest == result.best


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cycles": 0}, "cycles must be at least 1, not 0"),
        ({"elite": 0}, "elite must be at least 1"),
        ({"mutation_rate": 0.0}, "mutation_rate must be above 0"),
        ({"mutation_rate": 1.5}, "mutation_rate must be above 0 and at most 1, not 1.5"),
        ({"mutations": 20}, r"must be the population of 30, not 20 \+ 15"),
        ({"mutations": -1, "crossovers": 31}, "mutations must be at least 0, not -1"),
    ],
)
def test_a_config_without_meaning_is_refused(changes, message):
    with pytest.raises(InvalidOptionError, match=message):
        EvolutionConfig(**changes)
