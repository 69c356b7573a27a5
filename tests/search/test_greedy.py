"""Global ranking removes what is worth least for what it saves."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from strategy_suite import CANDIDATES, problem_of

from tailor.errors import InvalidOptionError
from tailor.search import Greedy, GreedyConfig, SearchSpace, run_search
from tailor.spec import Widths

ONE = GreedyConfig(structures=1)
VALUES = {
    group: tuple((1 + int(group[-1]) if group != "stem" else 1) * width**0.5 for width in steps)
    for group, steps in CANDIDATES.items()
}


def test_the_structure_keeps_the_limit_and_late_groups_which_are_worth_more_stay_wider() -> None:
    problem = problem_of(share=0.5)
    strategy = Greedy(problem.space(), VALUES, lambda widths: sum(widths.values()), ONE)
    result = run_search(problem, strategy)
    assert (len(result.trials), result.planned, result.notices) == (1, 1, ())
    widths = result.trials[0].widths
    assert result.trials[0].latency.ns <= problem.limit_ns
    kept = [widths[f"layer{index}"] for index in range(8)]
    assert kept == sorted(kept)
    assert kept[0] < kept[-1]


def test_what_a_step_should_save_decides() -> None:
    problem = problem_of(share=0.5)
    config = replace(ONE, price="macs")
    dear_last = Greedy(
        problem.space(), VALUES, lambda widths: sum(widths.values()) + 1000.0 * widths["layer7"], config
    )
    plain = Greedy(problem.space(), VALUES, lambda widths: sum(widths.values()), ONE)
    assert dear_last.ask()[0].widths["layer7"] < plain.ask()[0].widths["layer7"]
    assert dear_last.description != plain.description


def test_it_stops_at_the_first_structure_within_the_limit() -> None:
    problem = problem_of(share=0.97)
    widths = Greedy(problem.space(), VALUES, lambda widths: sum(widths.values()), ONE).ask()[0].widths
    assert sum(widths[group] != steps[-1] for group, steps in CANDIDATES.items()) == 1


def plainly(space: SearchSpace, price: Callable[[Widths], float]) -> Widths:
    """Every group's next step looked at anew before every step, the first of equals taken."""
    places = {group: len(steps) - 1 for group, steps in CANDIDATES.items()}

    def at(places: dict[str, int]) -> Widths:
        return Widths({group: CANDIDATES[group][place] for group, place in places.items()})

    while not space.feasible(at(places)):
        now = at(places)
        losses = {
            group: (VALUES[group][place] - VALUES[group][place - 1])
            / max(price(now) - price(now.but({group: CANDIDATES[group][place - 1]})), 1e-12)
            for group, place in places.items()
            if place
        }
        places[min(losses, key=losses.__getitem__)] -= 1
    return at(places)


@pytest.mark.parametrize("share", [0.9, 0.6, 0.4])
def test_looking_at_few_groups_finds_what_looking_at_all_does(share: float) -> None:
    def products(widths: Widths) -> float:  # what a step saves depends on the neighbours, as multiply-accumulates do
        return float(sum(a * b for a, b in itertools.pairwise(widths.values())))

    for price in (products, lambda widths: float(sum(widths.values()))):
        space = problem_of(share=share).space()
        assert Greedy(space, VALUES, price, ONE).ask()[0].widths == plainly(space, price)


def test_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidOptionError, match="6 candidates and 0 values"):
        Greedy(problem_of().space(), {}, lambda widths: 1.0, ONE)


def test_the_way_down_is_followed_to_tighter_limits() -> None:
    space, config = problem_of(share=0.7).space(), GreedyConfig(structures=3, step=0.2)
    found = [proposal.widths for proposal in Greedy(space, VALUES, lambda widths: sum(widths.values()), config).ask()]
    for widths, share in zip(found, (0.7, 0.7 * 0.8, 0.7 * 0.6), strict=True):
        assert widths == plainly(problem_of(share=share).space(), lambda widths: sum(widths.values()))
