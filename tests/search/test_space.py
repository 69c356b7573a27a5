"""The shrunk space: what is drawn, and what happens under tight budgets."""

from itertools import product

import numpy as np
import pytest
from strategy_suite import CANDIDATES, DENSE_NS, LinearLatency

from tailor.errors import InvalidOptionError
from tailor.search import SearchSpace
from tailor.spec import Widths


def drawn(space: SearchSpace, count: int) -> list[tuple[Widths, str]]:
    rng, seen, found = np.random.default_rng(0), set(), []
    for _ in range(count):
        one = space.draw(rng, seen)
        if one is None:
            break
        seen.add(one[0])
        found.append(one)
    return found


def test_a_loose_limit_is_drawn_uniformly():
    space = SearchSpace(CANDIDATES, LinearLatency(), DENSE_NS)
    found = drawn(space, 600)
    assert {origin for _, origin in found} == {"random"}
    for group in space.free:
        counts = np.unique([widths[group] for widths, _ in found], return_counts=True)[1]
        assert len(counts) == 6
        assert counts.min() > 60  # 100 expected, standard deviation 9


def test_a_tight_limit_is_drawn_by_narrowing_close_below_it():
    space = SearchSpace(CANDIDATES, LinearLatency(), int(0.2 * DENSE_NS))
    found = drawn(space, 100)
    latencies = [1000 * (sum(widths.values()) - 16) for widths, _ in found]
    assert len(found) == 100
    assert {origin for _, origin in found} >= {"narrowed"}
    assert max(latencies) <= space.limit_ns
    assert np.median(latencies) > 0.85 * space.limit_ns


def test_a_small_space_is_listed_to_the_last_structure():
    candidates = {"a": (1, 2, 3), "b": (1, 2, 3, 4), "c": (5,)}

    class Product:
        def predict(self, widths):
            return LinearLatency().predict(Widths({"p": widths["a"] * widths["b"]}))

    space = SearchSpace(candidates, Product(), 6000)
    expected = {(a, b, 5) for a, b in product((1, 2, 3), (1, 2, 3, 4)) if a * b <= 6}
    assert {tuple(widths.values()) for widths, _ in drawn(space, 100)} == expected
    assert space.size == 12


def test_the_last_structure_left_is_found_at_once():
    candidates = {f"layer{index}": (8, 16, 24, 32, 48, 64) for index in range(5)}
    space = SearchSpace(candidates, LinearLatency(), DENSE_NS)
    everything = {Widths(zip(candidates, choice, strict=True)) for choice in product(*candidates.values())}
    for last in list(everything)[:5]:
        assert space.draw(np.random.default_rng(0), everything - {last}) == (last, "random")
    assert space.draw(np.random.default_rng(0), everything) is None


def test_nothing_fits_gives_none():
    assert SearchSpace({"a": (4, 8)}, LinearLatency(), 3999).draw(np.random.default_rng(0), set()) is None
    large = SearchSpace(CANDIDATES, LinearLatency(), 63_000)
    assert large.size > 20_000
    assert large.draw(np.random.default_rng(0), set()) is None


def test_each_structure_is_predicted_once():
    latency = LinearLatency()
    space = SearchSpace(CANDIDATES, latency, DENSE_NS)
    widths = space.narrowest
    assert space.feasible(widths)
    assert space.feasible(Widths(dict(widths)))
    assert latency.calls == 1


@pytest.mark.parametrize("widths", [(), (8, 4), (4, 4), (-1, 4)])
def test_candidates_that_are_no_ladder_are_refused(widths):
    with pytest.raises(InvalidOptionError, match="group 'a': candidate widths must be ascending"):
        SearchSpace({"a": widths}, LinearLatency(), 1)


@pytest.mark.parametrize("share", [0.9, 0.6, 0.3])
def test_a_structure_drawn_at_the_limit_is_just_within_it(share: float) -> None:
    space = SearchSpace(CANDIDATES, LinearLatency(), int(share * DENSE_NS))
    found = [space.drawn_at_limit(np.random.default_rng(seed)) for seed in range(20)]
    assert len(set(found)) > 10
    latencies = [space.latency_ns(widths) / space.limit_ns for widths in found]
    assert max(latencies) <= 1
    assert np.median(latencies) > 0.93  # one step of one group is 3 % of the narrowest limit
    assert space.drawn_at_limit(np.random.default_rng(3)) == found[3]
