"""Every term is counted by hand, none is negative, each grows among counts that are aligned alike, names are keys."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tailor.latency.basis import (
    DENSE_TERMS,
    DEPTHWISE_TERMS,
    EVICTION_STEPS,
    FOOTPRINT_STEPS,
    Term,
    eviction_share,
    footprint_share,
    term_named,
    term_values,
)

ALIKE = 192  # a multiple of every block: counts that differ by it answer every question alike


def value(
    term: Term, inputs: int, outputs: int, megabytes: float, milliseconds: float, *, followed: float = 0.0
) -> float:
    sizes = (inputs, outputs, megabytes, milliseconds, followed)
    return float(term_values([term], *(np.array([float(x)]) for x in sizes))[0, 0])


@pytest.mark.parametrize(
    ("term", "by_hand"),
    [
        (Term(kind="constant"), 1),
        (Term(kind="outputs", outputs=8), 24),
        (Term(kind="inputs", inputs=16), 16),
        (Term(kind="product", inputs=8, outputs=16), 16 * 32),
        (Term(kind="odd outputs", outputs=4), 18),
        (Term(kind="odd inputs", inputs=4), 0),
        (Term(kind="odd in product", inputs=16), 12 * 18),
        (Term(kind="odd in product", inputs=4), 0),
        (Term(kind="odd out product", outputs=16), 12 * 18),
        (Term(kind="even in product", inputs=4), 12 * 18),
        (Term(kind="even in product", inputs=16), 0),
        (Term(kind="even product", inputs=4, outputs=2), 12 * 18),
        (Term(kind="even product", inputs=4, outputs=4), 0),
        (Term(kind="fetched", inputs=1), 12 * 18 * 0.5),
        (Term(kind="evicted product", inputs=4), 12 * 18 * 0.25),
        (Term(kind="evicted", inputs=4), 0.25),
        (Term(kind="evicted", inputs=3), 1),
        (Term(kind="evicted", inputs=5), 0),
    ],
)
def test_terms_of_12_inputs_and_18_outputs_in_a_network_of_1_5_megabytes_and_2_5_ms(term: Term, by_hand: float) -> None:
    assert value(term, 12, 18, 1.5, 2.5) == by_hand


def test_what_follows_a_layer_takes_its_outputs() -> None:
    followed = Term(kind="followed")
    assert value(followed, 12, 18, 1.5, 2.5) == 0
    assert value(followed, 12, 18, 1.5, 2.5, followed=1.0) == 18
    assert all(
        value(term, 12, 18, 1.5, 2.5) == value(term, 12, 18, 1.5, 2.5, followed=1.0)
        for term in DENSE_TERMS
        if term != followed
    )


def test_no_term_is_negative_and_more_channels_aligned_alike_never_cost_less() -> None:
    draw = np.random.default_rng(0)
    inputs, outputs = draw.integers(1, 300, (2, 500)).astype(float)
    megabytes, milliseconds = draw.uniform(0, 80, (2, 500))
    followed = (inputs % 2 == 0).astype(float)
    here = term_values(DENSE_TERMS, inputs, outputs, megabytes, milliseconds, followed)
    assert here.shape == (500, len(DENSE_TERMS))
    assert (here >= 0).all()
    for a, b, size, time in ((ALIKE, 0, 0, 0), (0, ALIKE, 0, 0), (0, 0, 3, 0), (0, 0, 0, 3)):
        there = term_values(DENSE_TERMS, inputs + a, outputs + b, megabytes + size, milliseconds + time, followed)
        assert (there >= here).all()


def test_names_are_unique_and_lead_back_to_their_terms() -> None:
    names = [term.name for term in DENSE_TERMS]
    assert len(set(names)) == len(names)
    assert tuple(map(term_named, names)) == DENSE_TERMS
    assert set(DEPTHWISE_TERMS) < set(DENSE_TERMS)


def test_depthwise_terms_do_not_read_the_inputs() -> None:
    outputs, zeros = np.arange(1.0, 100), np.zeros(99)
    milliseconds = outputs / 7
    assert np.array_equal(
        term_values(DEPTHWISE_TERMS, outputs, outputs, zeros, milliseconds, zeros + 1),
        term_values(DEPTHWISE_TERMS, zeros + 1, outputs, zeros, milliseconds, zeros + 1),
    )


@pytest.mark.parametrize(
    ("steps", "share"), [(FOOTPRINT_STEPS, footprint_share), (EVICTION_STEPS, eviction_share)], ids=["size", "time"]
)
def test_the_steps_join_and_are_crossed_evenly(steps, share) -> None:  # type: ignore[no-untyped-def]
    assert all(high == low for (_, high), (low, _) in itertools.pairwise(steps))
    for step, (low, high) in enumerate(steps):
        values = np.array([0, low, low + 0.25 * (high - low), high, 2 * high])
        assert share(step, values) == pytest.approx([0, 0, 0.25, 1, 1])
