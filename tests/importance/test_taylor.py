"""Saliencies equal explicit gates in the network, summed over coupled layers before the absolute value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tailor.channels import trace
from tailor.errors import DataError, InvalidOptionError
from tailor.importance.taylor import TaylorAccumulator, taylor_scores
from tailor.spec import ChannelGraph

CLASSES = 5


class Residual(nn.Module):
    """Two convolutions write one stream; every norm is followed by a gate that is 1."""

    def __init__(self, *, norm: bool = True) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=not norm)
        self.stem_norm = nn.BatchNorm2d(6) if norm else nn.Identity()
        self.inner = nn.Conv2d(6, 4, 3, padding=1, bias=not norm)
        self.inner_norm = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.outer = nn.Conv2d(4, 6, 3, padding=1, bias=not norm)
        self.outer_norm = nn.BatchNorm2d(6) if norm else nn.Identity()
        self.head = nn.Linear(6, CLASSES)
        self.gates: Sequence[Tensor] = ()

    def forward(self, images: Tensor) -> Tensor:
        stem, inner, outer = self.gates if len(self.gates) else (1.0, 1.0, 1.0)
        stream = torch.relu(self.stem_norm(self.stem(images)) * stem)
        branch = torch.relu(self.inner_norm(self.inner(stream)) * inner)
        stream = torch.relu(stream + self.outer_norm(self.outer(branch)) * outer)
        return self.head(stream.mean(dim=(2, 3)))


def planted(*, norm: bool = True) -> tuple[Residual, ChannelGraph, list[tuple[Tensor, Tensor]]]:
    torch.manual_seed(1)
    model = Residual(norm=norm).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.3, 0.3)  # type: ignore[arg-type]
    images = torch.randn(12, 3, 8, 8)
    labels = torch.randint(CLASSES, (12,))
    return model, trace(model, images[:1]), [(images[i : i + 4], labels[i : i + 4]) for i in (0, 4, 8)]


def by_gates(model: Residual, batches: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Per batch: (stream, inner) sums of gate times gradient, the stream's two gates added."""
    found = []
    for images, labels in batches:
        gates = [torch.ones(1, width, 1, 1, requires_grad=True) for width in (6, 4, 6)]
        model.gates = gates
        F.cross_entropy(model(images), labels).backward()
        stem, inner, outer = (gate.grad.ravel() for gate in gates)  # type: ignore[union-attr]
        found.append((stem + outer, inner))
    model.gates = ()
    model.zero_grad()
    return found


def named(graph: ChannelGraph, producer: str) -> str:
    return next(group.name for group in graph.groups if f"{producer}.weight" in group.producers)


@pytest.mark.parametrize(("kind", "shape"), [("bn-taylor", torch.abs), ("gate-taylor", torch.square)])
@pytest.mark.parametrize("norm", [True, False])
def test_saliencies_are_those_of_gates_behind_each_norm(kind: str, shape: object, norm: bool) -> None:
    model, graph, batches = planted(norm=norm)
    scores = taylor_scores(model, graph, kind, batches)
    if kind == "bn-taylor" and not norm:
        kind_of_fallback = taylor_scores(model, graph, "weight-taylor", batches)
        assert all(np.array_equal(scores[group], kind_of_fallback[group]) for group in scores)
        return
    gates = by_gates(model, batches)
    for index, producer in enumerate(("stem", "inner")):
        expected = torch.stack([shape(pair[index]) for pair in gates]).mean(dim=0)  # type: ignore[operator]
        np.testing.assert_allclose(scores[named(graph, producer)], expected.numpy(), rtol=1e-4, atol=1e-8)


def test_weights_times_gradients_are_summed_over_coupled_layers_first() -> None:
    model, graph, batches = planted()
    expected = np.zeros(6)
    for images, labels in batches:
        model.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        both = (model.stem.weight * model.stem.weight.grad, model.outer.weight * model.outer.weight.grad)
        expected += abs(sum(x.sum(dim=(1, 2, 3)) for x in both).detach().numpy()) / len(batches)  # type: ignore[union-attr]
    model.zero_grad()
    scores = taylor_scores(model, graph, "weight-taylor", batches)
    np.testing.assert_allclose(scores[named(graph, "stem")], expected, rtol=1e-4)


def test_consuming_weights_times_gradients_are_summed_over_consumers_first() -> None:
    model, graph, batches = planted()
    expected = np.zeros(6)
    for images, labels in batches:
        model.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        inner = (model.inner.weight * model.inner.weight.grad).sum(dim=(0, 2, 3))  # type: ignore[operator]
        head = (model.head.weight * model.head.weight.grad).sum(dim=0)  # type: ignore[operator]
        expected += abs((inner + head).detach().numpy()) / len(batches)
    model.zero_grad()
    scores = taylor_scores(model, graph, "input-taylor", batches)
    np.testing.assert_allclose(scores[named(graph, "stem")], expected, rtol=1e-4)


def test_groups_without_a_norm_are_named() -> None:
    with_norm, without = planted(), planted(norm=False)
    assert TaylorAccumulator(with_norm[0], with_norm[1], "bn-taylor").without_norm == ()
    named_groups = TaylorAccumulator(without[0], without[1], "bn-taylor").without_norm
    assert set(named_groups) == {group.name for group in without[1].prunable}


def test_an_iteration_that_is_no_number_is_skipped() -> None:
    model, graph, batches = planted()
    accumulator = TaylorAccumulator(model, graph, "bn-taylor")
    for number, (images, labels) in enumerate(batches):
        model.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        (loss * (float("nan") if number == 1 else 1.0)).backward()
        assert accumulator.observe() is (number != 1)
    model.zero_grad()
    assert accumulator.iterations == 2
    kept = taylor_scores(model, graph, "bn-taylor", [batches[0], batches[2]])
    for name, scores in accumulator.scores().items():
        np.testing.assert_allclose(scores, kept[name], rtol=1e-6)


def test_nothing_observed_and_unknown_kinds_are_refused() -> None:
    model, graph, _ = planted()
    with pytest.raises(DataError, match="no gradient was observed"):
        TaylorAccumulator(model, graph, "bn-taylor").scores()
    with pytest.raises(InvalidOptionError, match="no saliency 'hessian'; known are bn-taylor"):
        TaylorAccumulator(model, graph, "hessian")
