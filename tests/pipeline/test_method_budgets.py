"""Every method alone reaches 60 % on four networks, by the planted truth of what was cut.

Rankings, strategies and cuts are the real ones on the networks' own graphs; images are few, and latency is planted, so
that the truth is read off the modules of the cut network. `benchmarks/method_budgets.py` shows the same by the clock.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torchvision
from torch import Tensor, nn

from tailor.channels import build, cut, trace
from tailor.importance import Calibration, Observed, Ranking, importance_named, rank
from tailor.importance.branches import valued_branches
from tailor.latency.factors import Factors, factors_of
from tailor.methods import METHODS, Ground, Method, candidate_widths, method_named, resized, strategy_of
from tailor.methods.counting import Counts
from tailor.models import load_model
from tailor.records import Estimate
from tailor.search import SearchProblem, run_search
from tailor.spec import Axis, ChannelGraph, Layer, Widths

SHARE = 0.6
BLOCK = 8
SMALL = {"lacp", "random", "eagleeye", "metapruning-evolution", "abcpruner", "bayesian"}  # searches of populations

NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "ResNet-18": lambda: load_model("tailor/resnet18-cifar10"),
    "VGG-16": lambda: load_model("tailor/vgg16-cifar10"),
    "MobileNetV2": lambda: torchvision.models.mobilenet_v2(num_classes=10),
    "DenseNet-121": lambda: torchvision.models.densenet121(num_classes=10),
}


def layer_ns(layer: Layer, in_channels: int, out_channels: int) -> float:
    """A launch, and the product of the channels, padded to 8, over the layer's positions; none without channels."""
    if not in_channels or not out_channels:
        return 0.0
    padded = [-(-count // BLOCK) * BLOCK for count in (in_channels, out_channels)]
    product = padded[1] if layer.depthwise else padded[0] * padded[1]
    return 200.0 + 0.02 * product * area(layer)


def area(layer: Layer) -> int:
    """Multiplications per pair of channels."""
    return math.prod(layer.shape.kernel) * math.prod(layer.shape.output_spatial or (1,))


def _inputs(layer: Layer) -> Axis:
    return layer.inputs


def _outputs(layer: Layer) -> Axis:
    return layer.outputs


class _Axes:
    """One axis of every layer as a matrix over the groups."""

    def __init__(self, axes: list[Axis], place: Mapping[str, int]) -> None:
        self._fixed = np.array([axis.fixed for axis in axes])
        self._within = np.array([-1 if axis.within is None else place[axis.within] for axis in axes])
        self._units = np.zeros((len(axes), len(place)))
        for row, axis in enumerate(axes):
            for group, units in axis.terms:
                self._units[row, place[group]] += units

    def sizes(self, widths: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        there = (self._within < 0) | (widths[self._within] > 0)
        return np.where(there, self._fixed + self._units @ widths, 0.0)


class Planted:
    """The latency model that knows the truth; whole networks at once, since searches ask thousands of times."""

    constant_ns = 1_000.0

    def __init__(self, graph: ChannelGraph) -> None:
        self.graph = graph
        place = {group.name: number for number, group in enumerate(graph.groups)}
        self._groups = tuple(place)
        self._axes = [_Axes([axis(layer) for layer in graph.layers], place) for axis in (_inputs, _outputs)]
        self._depthwise = np.array([layer.depthwise for layer in graph.layers])
        self._area = np.array([area(layer) for layer in graph.layers])

    @property
    def priced_layers(self) -> tuple[Layer, ...]:
        return self.graph.layers

    def layer_ns(self, index: int, in_channels: int, out_channels: int, around: Widths) -> float:
        return layer_ns(self.graph.layers[index], in_channels, out_channels)

    def predict(self, widths: Widths) -> Estimate:
        row = np.array([widths[group] for group in self._groups])
        inputs, outputs = (np.ceil(axes.sizes(row) / BLOCK) * BLOCK for axes in self._axes)
        product = np.where(self._depthwise, outputs, inputs * outputs)
        ns = round(self.constant_ns + float(np.where(product > 0, 200.0 + 0.02 * product * self._area, 0.0).sum()))
        return Estimate(ns=ns, low_ns=ns, high_ns=ns)

    def factors(self, candidates: Mapping[str, tuple[int, ...]], around: Widths) -> Factors:
        return factors_of(self, candidates, around)

    def truth(self, network: nn.Module) -> float:
        """What a network takes by its own modules: a removed one is not there, whatever the graph says."""
        modules = dict(network.named_modules())
        total = self.constant_ns
        for layer in self.graph.layers:
            module = modules[layer.name]
            if isinstance(module, nn.Conv2d):
                total += layer_ns(layer, module.in_channels, module.out_channels)
            elif isinstance(module, nn.Linear):
                total += layer_ns(layer, module.in_features, module.out_features)
        return total


class Saliency:
    """Scores widths by the share of the values that they keep: what an accuracy would say, in no time."""

    def __init__(self, candidates: Mapping[str, tuple[int, ...]], values: Mapping[str, tuple[float, ...]]) -> None:
        self._candidates, self._values = candidates, values

    def score(self, widths: Mapping[str, int]) -> float:
        kept = [self._values[group][own.index(widths[group])] for group, own in self._candidates.items()]
        return sum(kept) / max(1e-9, sum(own[-1] for own in self._values.values()))


class Scene:
    """One network with its graph, a batch of four images, and rankings that are made when first asked for."""

    def __init__(self, name: str) -> None:
        torch.manual_seed(0)
        self.model = NETWORKS[name]().eval()
        self.x, self.labels = torch.randn(4, 3, 32, 32), torch.arange(4)
        self.graph = trace(self.model, self.x[:1], depth=True)
        self.latency = Planted(self.graph)
        self._ranked: dict[str, tuple[Ranking, Mapping[str, float]]] = {}

    def ranked(self, importance: str) -> tuple[Ranking, Mapping[str, float]]:
        """The ranking by this importance, and what branches are worth."""
        if importance not in self._ranked:
            batch: tuple[Tensor, Tensor] = (self.x, self.labels)
            calibration = Calibration(model=self.model, graph=self.graph, batches=lambda: [batch])
            found = importance_named(importance, 0, calibration)
            branches = found.branches if isinstance(found, Observed) else {}
            self._ranked[importance] = rank(self.model, self.graph, found), branches
        return self._ranked[importance]

    def edges(self) -> dict[str, tuple[int, ...]]:
        """The right edges of the planted treads, at most six of them."""
        found = {}
        for group in self.graph.groups:
            step = BLOCK * max(1, -(-group.width // (6 * BLOCK)))
            found[group.name] = tuple(sorted({group.width, *range(step, group.width, step)}))
        return {g.name: tuple(w for w in found[g.name] if g.allows(w)) for g in self.graph.groups}


@pytest.fixture(scope="module", params=NETWORKS)
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(request.param)


def in_small(name: str) -> Method:
    method = method_named(name)
    if name in SMALL:
        return replace(method, search=resized(method.search, cycles=2, population=4))
    if name in ("halp", "smcp", "sp-lamp"):  # fewer steps and one structure; training between the steps is tested apart
        return replace(method, search=resized(method.search, cycles=3, population=1))
    return replace(method, search=resized(method.search, cycles=None, population=1)) if name == "mdp" else method


@pytest.mark.parametrize("name", METHODS)
def test_every_method_reaches_its_budget(name: str, scene: Scene) -> None:
    method, graph, latency = in_small(name), scene.graph, scene.latency
    limit = round(SHARE * latency.truth(scene.model))
    candidates = candidate_widths(graph, scene.edges(), method)
    ranking, branches = scene.ranked(method.importance)
    values = valued_branches(ranking.values(candidates, scale=method.scale), candidates, graph, branches)
    evaluator = Saliency(candidates, values)
    problem = SearchProblem(candidates=candidates, latency=latency, evaluator=evaluator, limit_ns=limit, seed=0)
    ground = Ground(graph=graph, latency=latency, values=values)
    result = run_search(problem, strategy_of(method, problem.space(), ground, seed=0))
    assert result.best is not None
    plan = ranking.keep(result.best.widths)
    made = cut if name in ("lacp", "mdp") else build  # the proof of a cut is tested at length elsewhere
    small = made(scene.model, graph, plan)
    assert latency.truth(small) <= limit + 1
    assert latency.truth(small) == pytest.approx(latency.predict(plan.widths).ns, abs=1)
    assert latency.truth(small) > 0.3 * latency.truth(scene.model)  # no more than was asked, by far
    with torch.no_grad():
        assert small(scene.x).isfinite().all()


def test_counting_by_arrays_is_counting_layer_by_layer(scene: Scene) -> None:
    graph, counts, draw = scene.graph, Counts(scene.graph), random.Random(0)
    for _ in range(5):
        widths = Widths({g.name: draw.choice([w for w in range(1, g.width + 1) if g.allows(w)]) for g in graph.groups})
        gone = {group: 0 for branch in graph.removable if draw.random() < 0.3 for group in branch.groups}
        for each in (widths, widths.but(gone)):
            assert counts.macs(each) == graph.macs(each)
