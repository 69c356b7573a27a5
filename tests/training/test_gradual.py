"""Pruning while training: channels leave for good, what is masked can be cut, and the seed decides everything."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from tailor.channels import build, trace
from tailor.errors import TrainingError
from tailor.spec import ChannelGraph, KeepPlan
from tailor.training import Data, PruningSchedule, Recipe, accuracy, train_gradually

RECIPE = Recipe(name="test", epochs=1, learning_rate=0.05, batch_size=32, precision="fp32", gradient_clip=5.0)
Make = Callable[[], nn.Module]


def graph_of(model: nn.Module, data: Data) -> ChannelGraph:
    return trace(model.eval(), torch.randn(1, *data.input_shape))


class Halving:
    """Keeps the more salient part of every group, a little less at each step, and remembers what it was told."""

    def __init__(self, share: float = 0.8) -> None:
        self.share = share
        self.told: list[tuple[int, Mapping[str, npt.NDArray[np.float64]], KeepPlan]] = []

    def __call__(self, step: int, scores: Mapping[str, npt.NDArray[np.float64]], kept: KeepPlan) -> KeepPlan:
        self.told.append((step, {name: own.copy() for name, own in scores.items()}, kept))
        chosen = {}
        for group, units in kept.kept.items():
            count = max(1, round(self.share * len(units))) if group in scores else len(units)
            best = sorted(units, key=lambda unit: -scores[group][unit] if group in scores else 0)
            chosen[group] = tuple(sorted(best[:count]))
        return KeepPlan(fingerprint=kept.fingerprint, kept=chosen)


def pruned(corners: Data, make_net: Make, **changes: object) -> tuple[nn.Module, ChannelGraph, KeepPlan, Halving]:
    model, choose = make_net(), changes.pop("choose", None) or Halving()
    graph = graph_of(model, corners)
    recipe = changes.pop("recipe", RECIPE)
    asked = {"saliency": "bn-taylor", "steps": 3, "interval": 4} | changes
    schedule = PruningSchedule(**asked)  # type: ignore[arg-type]
    kept = train_gradually(model, graph, corners, recipe, schedule, choose)  # type: ignore[arg-type]
    return model, graph, kept, choose


def test_what_was_removed_stays_removed_and_can_be_cut_without_a_change(corners: Data, make_net: Make) -> None:
    model, graph, kept, choose = pruned(corners, make_net)
    assert [step for step, _, _ in choose.told] == [1, 2, 3]
    plans = [plan for _, _, plan in choose.told] + [kept]
    for before, after in itertools.pairwise(plans):
        assert all(set(after.kept[group]) <= set(before.kept[group]) for group in after.kept)
    assert sum(kept.widths.values()) < sum(graph.dense_widths.values())
    images = torch.randn(5, *corners.input_shape)
    model.eval()
    with torch.no_grad():
        cut = build(model, graph, kept).eval()(images)
        assert torch.allclose(model(images), cut, atol=1e-5 * float(cut.abs().max()))


def test_removed_channels_have_no_saliency_any_more(corners: Data, make_net: Make) -> None:
    *_, choose = pruned(corners, make_net)
    for _, scores, kept in choose.told[1:]:
        for group, own in scores.items():
            gone = np.delete(own, list(kept.kept[group]))
            assert not gone.any()
            assert own[list(kept.kept[group])].any()


def test_softly_masked_channels_may_come_back_and_are_hard_in_the_end(corners: Data, make_net: Make) -> None:
    class Alternating(Halving):
        """Keeps the upper half of every group, then the lower one."""

        def __call__(self, step: int, scores: Mapping[str, npt.NDArray[np.float64]], kept: KeepPlan) -> KeepPlan:
            self.told.append((step, {name: own.copy() for name, own in scores.items()}, kept))
            chosen = {
                group: tuple(range(len(own) // 2)) if step % 2 else tuple(range(len(own) // 2, len(own)))
                for group, own in scores.items()
            }
            return KeepPlan(fingerprint=kept.fingerprint, kept={**kept.kept, **chosen})

    choose = Alternating()
    model, graph, kept, _ = pruned(
        corners, make_net, saliency="input-taylor", soft=True, settling=2, steps=4, choose=choose
    )
    assert all(own.all() for _, scores, _ in choose.told for own in scores.values())  # hidden ones learn on
    assert kept.kept[graph.prunable[0].name][0] == graph.prunable[0].width // 2
    images = torch.randn(5, *corners.input_shape)
    with torch.no_grad():
        cut = build(model.eval(), graph, kept).eval()(images)
        assert torch.allclose(model(images), cut, atol=1e-5 * float(cut.abs().max()))


def test_the_network_goes_on_learning(corners: Data, make_net: Make) -> None:
    untrained = accuracy(make_net(), corners.batches("test"))
    model, *_ = pruned(corners, make_net, steps=4, interval=30)
    assert accuracy(model, corners.batches("test")) > max(0.8, untrained)


def test_the_seed_decides_everything_and_modes_and_gradients_are_left_as_found(
    corners: Data, make_net: Make
) -> None:
    results = []
    for seed in (1, 1, 2):
        torch.rand(seed)
        model, _, kept, _ = pruned(corners, make_net, recipe=replace(RECIPE, seed=seed))
        assert not any(module.training for module in model.modules())
        assert all(parameter.grad is None for parameter in model.parameters())
        results.append((kept, torch.cat([tensor.ravel().float() for tensor in model.state_dict().values()])))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])
    assert not torch.equal(results[0][1], results[2][1])


def test_a_loss_that_is_no_number_is_said(corners: Data, make_net: Make) -> None:
    with pytest.raises(TrainingError, match="no gradient of step"):
        pruned(corners, make_net, recipe=replace(RECIPE, learning_rate=1e30, gradient_clip=None), steps=4)
