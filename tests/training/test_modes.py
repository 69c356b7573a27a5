"""What the contexts lend is given back, also after a failure."""

import pytest
import torch
from torch import nn

from tailor.training.modes import channels_last, mode_kept, seeded


def test_every_submodules_mode_is_restored(make_net):
    model = make_net().train()
    model.bn2.eval()
    def fail():
        with mode_kept(model):
            model.eval()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [m.training for m in (model, model.bn1, model.bn2, model.dropout)] == [True, True, False, True]


def test_the_layout_is_lent_and_the_values_stay(make_net):
    model, plain = make_net(), make_net()
    already = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
    both = nn.ModuleList([model, already])
    with channels_last(both):
        assert model.conv2.weight.is_contiguous(memory_format=torch.channels_last)
        assert not model.conv2.weight.is_contiguous()
    assert model.conv2.weight.is_contiguous()
    assert already.weight.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))


def test_random_numbers_start_from_the_seed_and_go_on_afterwards():
    state = torch.random.get_rng_state()
    with seeded(3):
        first = torch.rand(2)
    assert torch.equal(state, torch.random.get_rng_state())
    with seeded(3):
        assert torch.equal(first, torch.rand(2))
    with pytest.raises(KeyError), seeded(3):
        raise KeyError
    assert torch.equal(state, torch.random.get_rng_state())
