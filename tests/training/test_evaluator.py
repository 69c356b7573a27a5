"""The evaluator scores widths by the accuracy of the network cut to them, purely, and leaves the model alone."""

import pytest
import torch

from tailor.channels import build, trace
from tailor.errors import CutError, InvalidOptionError
from tailor.importance import L1Importance, keep_plan
from tailor.training import AccuracyEvaluator, Recipe, accuracy, recalibrate, train


@pytest.fixture
def trained(corners, make_net):
    model = make_net()
    train(model, corners, Recipe(name="test", epochs=4, learning_rate=0.05, batch_size=32, precision="fp32"))
    return model.eval(), trace(model, torch.zeros(2, 3, 8, 8))


def narrowed(graph, share):
    return graph.dense_widths.but({group.name: max(1, int(group.width * share)) for group in graph.prunable})


def test_a_score_is_the_accuracy_of_the_recalibrated_cut_network(corners, trained):
    model, graph = trained
    evaluator = AccuracyEvaluator(
        model, graph, L1Importance(), corners, recalibration_images=100, evaluation_images=40, precision="fp32"
    )
    for share in (1.0, 0.5, 0.2):
        widths = narrowed(graph, share)
        small = build(model, graph, keep_plan(model, graph, widths, L1Importance()))
        recalibrate(small, corners.batches("train", 128, limit=100))
        expected = accuracy(small, corners.batches("heldout", limit=40))
        assert evaluator.score(widths) == pytest.approx(expected, abs=1 / 40)


@pytest.mark.parametrize("fitness", ["recalibrated", "short-training"])
def test_a_score_depends_on_the_widths_alone(corners, trained, fitness):
    model, graph = trained
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    options = {"fitness": fitness, "evaluation_images": 40, "training_images": 200, "seed": 3}
    widths = [narrowed(graph, share) for share in (1.0, 0.6, 0.2)]
    one = AccuracyEvaluator(model, graph, L1Importance(), corners, **options)
    first = [one.score(each) for each in widths]
    other = AccuracyEvaluator(model, graph, L1Importance(), corners, **options)
    torch.rand(5)
    assert [other.score(each) for each in reversed(widths)] == first[::-1]
    assert first[0] > 0.8
    assert first[2] < first[0]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    torch.random.set_rng_state(state)
    one.score(widths[1])
    assert torch.equal(state, torch.random.get_rng_state())


def test_short_training_helps_a_cut_network(corners, trained):
    model, graph = trained
    widths = narrowed(graph, 0.2)

    def score(fitness):
        return AccuracyEvaluator(model, graph, L1Importance(), corners, fitness=fitness, short_epochs=20).score(widths)

    assert score("short-training") > score("recalibrated") + 0.2


def test_the_precision_reads_back_what_auto_became(corners, trained):
    model, graph = trained
    assert AccuracyEvaluator(model, graph, L1Importance(), corners).precision in {"bf16", "fp32"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fitness": "loss"}, "fitness 'loss' is not one of recalibrated, short-training"),
        ({"short_epochs": 0}, "short_epochs must be at least 1, not 0"),
        ({"training_images": 0}, "training_images must be at least 1"),
        ({"evaluation_images": 0}, "limit must be at least 1, not 0"),
        ({"precision": "int4"}, "precision 'int4'"),
    ],
)
def test_senseless_options_are_refused(corners, trained, options, message):
    model, graph = trained
    with pytest.raises(InvalidOptionError, match=message):
        AccuracyEvaluator(model, graph, L1Importance(), corners, **options)


def test_widths_that_do_not_fit_are_refused(corners, trained):
    model, graph = trained
    evaluator = AccuracyEvaluator(model, graph, L1Importance(), corners)
    with pytest.raises(CutError, match="width 0"):
        evaluator.score(graph.dense_widths.but({graph.prunable[0].name: 0}))
