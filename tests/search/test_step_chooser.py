"""Steps of pruning while training: their limits are kept and used up, hard masks never grow, soft ones may."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from planted_layers import PaddedChain

from tailor.search import KnapsackConfig, StepChooser
from tailor.spec import KeepPlan, Widths

STEPS = 12


@dataclass(frozen=True)
class Graph:
    dense_widths: Widths
    fingerprint: str = "planted"


def steps_of(share: float, *, soft: bool, fill: bool = True) -> tuple[PaddedChain, StepChooser, list[KeepPlan]]:
    """All steps down to a share of the dense latency, with saliencies that training moves a little in between."""
    model, rng = PaddedChain(8, 64, block=4, constant_ns=500_000), np.random.default_rng(0)
    candidates = {group: tuple(range(4, width + 1, 4)) for group, width in model.dense.items()}
    limit = round(share * model.predict(model.dense).ns)
    config = KnapsackConfig(steps=STEPS, fill=fill)
    chooser = StepChooser(Graph(model.dense), model, candidates, limit, config, soft=soft)
    scores = {group: rng.exponential(size=width) for group, width in model.dense.items()}
    plans = [KeepPlan(fingerprint="planted", kept={group: tuple(range(w)) for group, w in model.dense.items()})]
    for step in range(1, STEPS + 1):
        scores = {group: own * rng.uniform(0.8, 1.25, size=len(own)) for group, own in scores.items()}
        plans.append(chooser(step, scores, plans[-1]))
    return model, chooser, plans


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("share", [0.8, 0.5])
def test_every_step_keeps_its_limit_and_uses_it_up(share: float, soft: bool) -> None:
    model, _, plans = steps_of(share, soft=soft)
    dense = model.predict(model.dense).ns
    for step, plan in enumerate(plans[1:], start=1):
        taken = model.predict(plan.widths).ns / (dense * share ** (step / STEPS))
        assert taken <= 1 + 1e-9 or step < STEPS  # frozen prices may err on the way, not at the end
        assert taken > 0.97


def test_without_filling_the_steps_overshoot() -> None:
    model, _, plans = steps_of(0.5, soft=False, fill=False)
    assert model.predict(plans[-1].widths).ns < 0.485 * model.predict(model.dense).ns


def test_hard_masks_never_grow_and_soft_ones_take_units_back() -> None:
    def returned(soft: bool) -> bool:
        _, _, plans = steps_of(0.5, soft=soft)
        return any(
            set(after.kept[group]) - set(before.kept[group])
            for before, after in itertools.pairwise(plans)
            for group in after.kept
        )

    assert not returned(soft=False)
    assert returned(soft=True)


def test_the_units_that_score_most_stay() -> None:
    _, chooser, plans = steps_of(0.6, soft=True)
    for group, kept in plans[-1].kept.items():
        own = chooser.scores[group]
        gone = [unit for unit in range(len(own)) if unit not in kept]
        assert min(own[list(kept)]) >= max(own[gone], default=0.0)
    assert any(len(kept) < len(chooser.scores[group]) for group, kept in plans[-1].kept.items())
