"""Recipes are found by name, stretch with their epochs, and refuse senseless values."""

from dataclasses import replace

import pytest

from tailor.errors import InvalidOptionError, UnknownNameError
from tailor.serialize import decode, encode
from tailor.training import RECIPES, Recipe, recipe_named


def test_the_papers_recipe_is_the_papers():
    recipe = recipe_named("lacp")
    assert (recipe.epochs, recipe.learning_rate, recipe.schedule) == (200, 0.1, "steps")
    assert recipe.milestones == (50, 100, 150)
    assert (recipe.gamma, recipe.weight_decay, recipe.momentum, recipe.batch_size) == (0.1, 1e-4, 0.9, 128)
    assert recipe.distillation_weight == 0
    assert recipe.ema_decay is None


def test_the_short_recipe_is_short_and_none_trains_nothing():
    assert 0 < recipe_named("short").epochs <= 10
    assert recipe_named("none").epochs == 0


def test_epochs_and_seed_can_be_chosen_and_milestones_move_along():
    recipe = recipe_named("lacp", epochs=20, seed=4)
    assert (recipe.epochs, recipe.milestones, recipe.seed) == (20, (5, 10, 15), 4)
    assert RECIPES["lacp"].epochs == 200


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_can_be_stored(name):
    assert decode(encode(RECIPES[name]), Recipe) == RECIPES[name]


def test_unknown_names_list_the_known():
    with pytest.raises(UnknownNameError, match="no recipe 'long'; known are lacp, short, none"):
        recipe_named("long")


@pytest.mark.parametrize(
    ("name", "epochs", "hint"), [("short", 0, "recipe none"), ("lacp", -1, "recipe none"), ("none", 3, "recipe short")]
)
def test_senseless_epochs_are_refused(name, epochs, hint):
    with pytest.raises(InvalidOptionError, match=hint):
        recipe_named(name, epochs)


@pytest.mark.parametrize(
    "change",
    [
        {"schedule": "linear"},
        {"epochs": -1},
        {"learning_rate": 0.0},
        {"batch_size": 0},
        {"temperature": 0.0},
        {"distillation_weight": 1.5},
        {"ema_decay": 1.0},
        {"gradient_clip": 0.0},
    ],
)
def test_senseless_values_are_refused_by_name(change):
    name, value = next(iter(change.items()))
    with pytest.raises(InvalidOptionError, match=name) as caught:
        replace(RECIPES["short"], **change)
    assert caught.value.value == value
