"""Importances are found by name."""

import pytest

from tailor.errors import UnknownNameError
from tailor.importance import IMPORTANCES, RandomImportance, importance_named


def test_every_name_gives_its_importance():
    assert set(IMPORTANCES) == {"l1", "l2", "random"}
    assert {type(importance_named(name)).__name__ for name in IMPORTANCES} == {
        "L1Importance",
        "L2Importance",
        "RandomImportance",
    }


def test_the_seed_reaches_the_random_one():
    importance = importance_named("random", 7)
    assert isinstance(importance, RandomImportance)
    assert importance.seed == 7


def test_an_unknown_name_lists_the_known():
    with pytest.raises(UnknownNameError, match="no importance 'taylor'; known are l1, l2, random"):
        importance_named("taylor")
