"""Random scores depend on the seed and the group's name alone."""

import numpy as np
import torch
from torch import nn

from tailor.importance import RandomImportance
from tailor.spec import ChannelGroup

FIRST, SECOND = ChannelGroup(name="first", width=50), ChannelGroup(name="second", width=50)


def test_scores_do_not_depend_on_the_order_of_calls():
    one, other = RandomImportance(3), RandomImportance(3)
    model = nn.Identity()
    forwards = one(model, FIRST), one(model, SECOND)
    backwards = other(model, SECOND), other(model, FIRST)
    assert np.array_equal(forwards[0], backwards[1])
    assert np.array_equal(forwards[1], backwards[0])


def test_groups_and_seeds_differ():
    model = nn.Identity()
    scores = RandomImportance(3)(model, FIRST)
    assert not np.array_equal(scores, RandomImportance(3)(model, SECOND))
    assert not np.array_equal(scores, RandomImportance(4)(model, FIRST))


def test_global_random_states_are_left_alone():
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    RandomImportance(0)(nn.Identity(), FIRST)
    assert torch.equal(torch_state, torch.random.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])
