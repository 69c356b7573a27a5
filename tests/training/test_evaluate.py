"""Accuracy counts right answers, whatever the batches, and leaves the model as it was."""

import pytest
import torch
from torch import nn

from tailor.errors import DataError, InvalidOptionError
from tailor.training import accuracy
from tailor.training.evaluate import logits_of


class Echo(nn.Module):
    """Logits are the input."""

    def forward(self, x):
        return x


def test_accuracy_is_the_share_of_right_answers_over_uneven_batches():
    logits = torch.eye(4)[[0, 1, 2, 3, 0, 1, 2]]
    labels = torch.tensor([0, 1, 2, 3, 1, 1, 0])
    batches = [(logits[:5], labels[:5]), (logits[5:], labels[5:])]
    assert accuracy(Echo(), batches) == pytest.approx(5 / 7)


def test_the_model_is_judged_in_eval_mode_and_left_in_its_own(corners, make_net):
    model = make_net().train()
    model.bn1.eval()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    rng = torch.random.get_rng_state()
    first = accuracy(model, corners.batches("test"))
    assert accuracy(model, corners.batches("test", 7)) == first
    assert (model.training, model.bn1.training, model.bn2.training) == (True, False, True)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert torch.equal(rng, torch.random.get_rng_state())
    assert torch.is_grad_enabled()


def test_no_image_is_an_error():
    with pytest.raises(DataError, match="at least one image"):
        accuracy(Echo(), [])


def test_logits_are_found_in_tuples_and_dicts():
    logits, other = torch.zeros(2, 3), torch.ones(2, 3)
    assert logits_of((logits, other)) is logits
    assert logits_of({"out": logits, "aux": other}) is logits


@pytest.mark.parametrize("output", [torch.zeros(2, 3, 4, 4), (), {}, None, "text"])
def test_what_is_no_classifier_is_refused(output):
    with pytest.raises(InvalidOptionError, match="needs a classifier"):
        logits_of(output)
