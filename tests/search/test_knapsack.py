"""The knapsack keeps the limit, follows its frozen prices, and needs its steps."""

from __future__ import annotations

import numpy as np
import pytest
from planted_layers import PaddedChain

from tailor.errors import InvalidOptionError
from tailor.latency.frozen import frozen_factors
from tailor.records import Estimate
from tailor.search import Knapsack, KnapsackConfig, Optimum, OptimumConfig, SearchProblem, run_search
from tailor.spec import Widths


class Saliency:
    """What the kept channels are worth together."""

    def __init__(self, values: dict[str, tuple[float, ...]], candidates: dict[str, tuple[int, ...]]) -> None:
        self.values = values
        self.candidates = candidates

    def score(self, widths: Widths) -> float:
        return sum(self.values[group][self.candidates[group].index(width)] for group, width in widths.items())


def planted(model: PaddedChain, share: float, *, step: int = 4, seed: int = 0) -> tuple[SearchProblem, Saliency]:
    width = next(iter(model.dense.values()))
    candidates = {group: tuple(range(step, width + 1, step)) for group in model.dense}
    rng = np.random.default_rng(seed)
    values = {}
    for group, own in candidates.items():
        units = np.sort(rng.exponential(size=width))[::-1] * rng.uniform(0.5, 2.0)
        values[group] = tuple(float(units[:count].sum()) for count in own)
    worth = Saliency(values, candidates)
    limit = round(share * model.predict(model.dense).ns)
    return SearchProblem(candidates=candidates, latency=model, evaluator=worth, limit_ns=limit, seed=0), worth


def landed(share: float, steps: int, *, solver: str = "exact", fill: bool = False) -> float:
    """The share of the dense latency at which the first answer ends."""
    model = PaddedChain(10, 64)
    problem, worth = planted(model, share, step=1)
    config = KnapsackConfig(steps=steps, solver=solver, structures=1, fill=fill)
    widths = Knapsack(problem.space(), worth.values, model, config).ask()[0].widths
    return model.predict(widths).ns / model.predict(model.dense).ns


@pytest.mark.parametrize("solver", ["exact", "heuristic"])
@pytest.mark.parametrize("share", [0.8, 0.5, 0.2])
def test_every_structure_keeps_the_limit(solver: str, share: float) -> None:
    model = PaddedChain(8, 64, block=8, constant_ns=2_000_000)
    problem, worth = planted(model, share, step=8)
    strategy = Knapsack(problem.space(), worth.values, model, KnapsackConfig(solver=solver, structures=3))
    result = run_search(problem, strategy)
    assert result.best is not None
    assert all(trial.latency.ns <= problem.limit_ns for trial in result.trials)
    assert (len(result.trials), result.notices) == (result.planned, ())


def test_one_step_overshoots_and_thirty_do_not() -> None:
    assert landed(0.55, 1) < 0.40
    assert 0.52 <= landed(0.55, 30) <= 0.55


@pytest.mark.parametrize("solver", ["exact", "heuristic"])
@pytest.mark.parametrize("steps", [1, 10])
def test_what_frozen_prices_left_is_given_back(steps: int, solver: str) -> None:
    assert 0.545 <= landed(0.55, steps, solver=solver, fill=True) <= 0.55
    model = PaddedChain(8, 64, block=8, constant_ns=2_000_000)
    problem, worth = planted(model, 0.5, step=4)
    space = problem.space()
    short, full = (
        Knapsack(space, worth.values, model, KnapsackConfig(steps=steps, solver=solver, structures=1, fill=fill))
        for fill in (False, True)
    )
    before, after = short.ask()[0].widths, full.ask()[0].widths
    assert all(after[group] >= width for group, width in before.items())
    assert worth.score(after) > worth.score(before)
    assert space.feasible(after)
    for group, own in space.candidates.items():  # nothing more fits
        for wider in own[own.index(after[group]) + 1 :][:1]:
            assert not space.feasible(after.but({group: wider}))


def test_the_exact_step_is_never_worse_than_the_heuristic_one_and_the_whole_optimum_than_both() -> None:
    exact, heuristic, given_back, whole = [], [], [], []
    for seed in range(12):
        model = PaddedChain(8, 64, block=16, constant_ns=100_000)
        problem, worth = planted(model, 0.5, step=8, seed=seed)
        space = problem.space()
        asked = (("exact", False, exact), ("heuristic", False, heuristic), ("exact", True, given_back))
        for solver, fill, found in asked:
            config = KnapsackConfig(steps=10, solver=solver, structures=1, fill=fill)
            found.append(worth.score(Knapsack(space, worth.values, model, config).ask()[0].widths))
        best = Optimum(space, worth.values, model, OptimumConfig(structures=1)).ask()[0].widths
        whole.append(worth.score(best))
    assert np.mean(exact) >= np.mean(heuristic), (exact, heuristic)
    assert np.all(np.array(whole) >= np.array(exact) - 1e-9), (whole, exact)
    assert np.all(np.array(whole) >= np.array(given_back) - 1e-9), (whole, given_back)
    assert np.mean(whole) > 1.005 * np.mean(exact)  # what frozen prices cost
    assert np.mean(given_back) > np.mean(exact) + 0.5 * (np.mean(whole) - np.mean(exact)), (given_back, exact, whole)


def test_frozen_prices_are_right_where_they_were_taken() -> None:
    model = PaddedChain(5, 32, block=4, constant_ns=777)
    candidates = dict.fromkeys(model.dense, (8, 16, 24, 32))
    around = model.dense.but({"g1": 16})
    factors = frozen_factors(model, candidates, around)
    assert factors.total_ns(around) == model.predict(around).ns
    assert all(len(term.groups) == 1 for term in factors.terms)
    narrowed = around.but({"g2": 8})
    assert factors.total_ns(narrowed) == model.predict(around).ns - 1000 * 16 * 24  # the reader's price stays


def test_prices_may_follow_what_reads_a_group() -> None:
    model = PaddedChain(5, 32, block=4, constant_ns=777)
    candidates = dict.fromkeys(model.dense, (8, 16, 24, 32))
    around = model.dense.but({"g1": 16})
    factors = frozen_factors(model, candidates, around, side="inputs")
    assert factors.total_ns(around) == model.predict(around).ns
    narrower = around.but({"g2": 8})
    assert factors.total_ns(narrower) == model.predict(around).ns - 1000 * 24 * 32  # the reader's alone


def test_groups_that_cost_nothing_to_write_stay_whole() -> None:
    class FreeFirst(PaddedChain):
        def layer_ns(self, index: int, in_channels: int, out_channels: int, around: Widths) -> float:
            return 0.0 if index == 0 else super().layer_ns(index, in_channels, out_channels, around)

        def predict(self, widths: Widths) -> Estimate:
            return super().predict(widths)

    model = FreeFirst(6, 32)
    problem, worth = planted(model, 0.6)
    for solver in ("exact", "heuristic"):
        config = KnapsackConfig(solver=solver, structures=1)
        assert Knapsack(problem.space(), worth.values, model, config).ask()[0].widths["g0"] == 32


@pytest.mark.parametrize(
    "changes", [{"steps": 0}, {"structures": 0}, {"solver": "greedy"}, {"step": 0.0}, {"side": "both"}]
)
def test_a_config_without_meaning_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidOptionError, match="must be"):
        KnapsackConfig(**changes)
