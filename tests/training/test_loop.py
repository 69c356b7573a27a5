"""Training learns, is the same for the same seed, and killed and resumed equals uninterrupted."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from tailor.errors import RunFolderError, TrainingError
from tailor.records import TrainingResult
from tailor.serialize import decode, encode
from tailor.training import Data, Recipe, accuracy, train
from tailor.training.loop import _schedule

RECIPE = Recipe(name="test", epochs=4, learning_rate=0.05, batch_size=32, ema_decay=0.9, precision="fp32")


def state_of(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def same(one, other):
    return all(torch.equal(value, other[key]) for key, value in one.items())


def test_a_network_learns_and_the_history_says_so(corners, make_net):
    model = make_net()
    before = accuracy(model, corners.batches("test"))
    result = train(model, corners, RECIPE)
    assert accuracy(model, corners.batches("test")) > max(0.9, before)
    assert [epoch.epoch for epoch in result.history] == [1, 2, 3, 4]
    assert result.history[-1].loss < result.history[0].loss
    assert result.history[-1].heldout_accuracy == accuracy(model, corners.batches("heldout"))
    assert decode(encode(result), TrainingResult) == result


@pytest.mark.parametrize("schedule", ["steps", "cosine", "one-cycle"])
def test_the_seed_decides_everything(corners, make_net, schedule):
    recipe = replace(RECIPE, epochs=2, schedule=schedule, milestones=(1,))
    states = []
    for seed in (1, 1, 2):
        model = make_net()
        torch.rand(seed)  # the global state differs and must not matter
        train(model, corners, replace(recipe, seed=seed))
        states.append(state_of(model))
    assert same(states[0], states[1])
    assert not same(states[0], states[2])


class Killed(BaseException):
    """What ends a training in these tests, where Ctrl-C would: no handler of errors may catch it."""


def interrupt_at(step):
    def progress(text, done, total):
        if done == step:
            raise Killed

    return progress


@pytest.mark.parametrize("schedule", ["steps", "cosine", "one-cycle"])
@pytest.mark.parametrize("stop", [11 * 2 + 5, 11 * 3 + 11])
def test_killed_and_resumed_ends_with_the_same_weights(corners, make_net, tmp_path, schedule, stop):
    recipe = replace(RECIPE, schedule=schedule, milestones=(2,), distillation_weight=0.5)
    whole, killed, resumed = make_net(), make_net(), make_net(seed=9)
    teacher = make_net(seed=5)
    uninterrupted = train(whole, corners, recipe, teacher=teacher)
    with pytest.raises(Killed):
        train(killed, corners, recipe, teacher=teacher, checkpoint=tmp_path / "c", progress=interrupt_at(stop))
    result = train(resumed, corners, recipe, teacher=teacher, checkpoint=tmp_path / "c")
    assert result.resumed_from == stop // 11 - (stop % 11 == 0)
    assert same(state_of(whole), state_of(resumed))

    def without_seconds(each):
        return [replace(epoch, seconds=0.0) for epoch in each.history]

    assert without_seconds(result) == without_seconds(uninterrupted)


def test_a_finished_training_is_not_repeated(corners, make_net, tmp_path):
    first, second = make_net(), make_net()
    train(first, corners, RECIPE, checkpoint=tmp_path / "c")
    result = train(second, corners, RECIPE, checkpoint=tmp_path / "c", progress=interrupt_at(1))
    assert result.resumed_from == len(result.history) == 4
    assert same(state_of(first), state_of(second))


def test_another_trainings_checkpoint_is_refused(corners, make_net, tmp_path):
    train(make_net(), corners, replace(RECIPE, epochs=1), checkpoint=tmp_path / "c")
    for model, recipe in ((make_net(width=6), replace(RECIPE, epochs=1)), (make_net(), RECIPE)):
        with pytest.raises(RunFolderError, match="another training"):
            train(model, corners, recipe, checkpoint=tmp_path / "c")


@pytest.mark.parametrize("fails", [False, True])
def test_everything_around_is_left_as_it_was(corners, make_net, fails):
    model, teacher = make_net().eval(), make_net(seed=3).train()
    model.bn1.train()
    taught, rng = state_of(teacher), torch.random.get_rng_state()
    recipe = replace(RECIPE, epochs=1, distillation_weight=0.5)
    with torch.no_grad():
        if fails:
            with pytest.raises(Killed):
                train(model, corners, recipe, teacher=teacher, progress=interrupt_at(3))
        else:
            train(model, corners, recipe, teacher=teacher)
        assert not torch.is_grad_enabled()
    assert (model.training, model.bn1.training, teacher.training) == (False, True, True)
    assert same(taught, state_of(teacher))
    assert torch.equal(rng, torch.random.get_rng_state())
    assert all(parameter.is_contiguous() for parameter in model.parameters())
    assert fails or all(parameter.grad is None for parameter in model.parameters())


def test_the_teacher_matters_exactly_when_the_recipe_says_so(corners, make_net):
    states = {}
    for weight in (0.0, 0.7):
        for taught in (False, True):
            model = make_net()
            recipe = replace(RECIPE, epochs=1, distillation_weight=weight)
            result = train(model, corners, recipe, teacher=make_net(seed=8) if taught else None)
            states[weight, taught] = state_of(model)
            assert result.distilled == (taught and weight > 0)
    assert same(states[0.0, False], states[0.0, True])
    assert same(states[0.0, False], states[0.7, False])
    assert not same(states[0.7, False], states[0.7, True])


def test_a_student_alone_with_its_teacher_comes_to_agree(corners, make_net):
    teacher, student = make_net(), make_net(width=6, seed=2)
    train(teacher, corners, RECIPE)
    train(student, corners, replace(RECIPE, distillation_weight=1.0), teacher=teacher)
    assert accuracy(student, corners.batches("test")) > 0.9


def test_a_short_training_is_not_held_back_by_its_average(corners, make_net):
    model = make_net()
    train(model, corners, replace(RECIPE, ema_decay=0.999))
    assert accuracy(model, corners.batches("test")) > 0.9


def test_the_weights_handed_over_are_the_moving_average(corners, make_net):
    model, averaged, taken = make_net(), None, 0

    def follow(text, done, total):
        nonlocal averaged, taken
        now = model.conv1.weight.detach().clone()
        # the first step starts the average; its memory then grows to 1 / (1 - decay) steps
        decay = min(0.9, (1 + taken) / (10 + taken)) if taken else 0.0
        averaged = now if averaged is None else decay * averaged + (1 - decay) * now
        taken += 1

    train(model, corners, replace(RECIPE, epochs=2), progress=follow)
    assert torch.allclose(model.conv1.weight, averaged, atol=1e-6)
    assert not torch.allclose(model.conv1.weight, averaged * 1.01, atol=1e-6)


def test_every_epoch_has_its_own_order(corners, make_net, monkeypatch):
    seeds, batches = [], Data.batches

    def spy(self, split, *arguments, **options):
        if split == "train":
            seeds.append(options["shuffle_seed"])
        return batches(self, split, *arguments, **options)

    monkeypatch.setattr(Data, "batches", spy)
    train(make_net(), corners, RECIPE)
    assert len(set(seeds)) == RECIPE.epochs


def test_frozen_parameters_stay_and_a_frozen_model_is_refused(corners, make_net):
    model = make_net()
    model.conv1.weight.requires_grad_(False)
    before = model.conv1.weight.clone()
    train(model, corners, replace(RECIPE, epochs=1))
    assert torch.equal(model.conv1.weight, before)
    with pytest.raises(TrainingError, match="no parameter requires a gradient"):
        train(make_net().requires_grad_(False), corners, RECIPE)


def test_no_epochs_change_nothing(corners, make_net):
    model = make_net()
    before = state_of(model)
    assert train(model, corners, replace(RECIPE, epochs=0)).history == ()
    assert same(before, state_of(model))


def test_a_loss_that_is_no_number_ends_the_training(corners, make_net):
    model = make_net()
    with torch.no_grad():
        model.linear.weight.fill_(math.inf)
    with pytest.raises(TrainingError, match=r"the loss became nan in epoch 1; lower the learning rate 0\.05"):
        train(model, corners, RECIPE)


def test_progress_counts_every_step(corners, make_net):
    seen = []
    train(make_net(), corners, replace(RECIPE, epochs=2), progress=lambda *state: seen.append(state))
    assert [done for _, done, _ in seen] == list(range(1, 23))
    assert seen[-1] == ("epoch 2 of 2", 22, 22)


def rates(schedule: LRScheduler, steps: int) -> list[float]:
    values = []
    for _ in range(steps):
        values.append(schedule.optimizer.param_groups[0]["lr"])
        schedule.optimizer.step()
        schedule.step()
    return values


def test_the_papers_schedule_divides_by_ten_every_fifty_epochs():
    from tailor.training import recipe_named

    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    values = rates(_schedule(optimizer, recipe_named("lacp"), 3), 600)
    assert values[::3] == pytest.approx([0.1 * 0.1 ** (epoch // 50) for epoch in range(200)])


def test_one_cycle_rises_for_a_fifth_and_falls_to_nothing():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    values = rates(_schedule(optimizer, replace(RECIPE, schedule="one-cycle", learning_rate=0.1), 25), 100)
    assert values.index(max(values)) == pytest.approx(20, abs=1)
    assert max(values) == pytest.approx(0.1, rel=0.01)
    assert values[0] < 0.01
    assert values[-1] < 1e-3


@pytest.mark.parametrize("total", range(1, 12))
def test_one_cycle_rises_and_falls_however_few_the_steps(total):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    values = rates(_schedule(optimizer, replace(RECIPE, schedule="one-cycle", learning_rate=0.1), total), total)
    assert all(0 < value <= 0.1 + 1e-9 for value in values)
