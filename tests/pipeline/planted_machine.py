"""Machines on which every structure takes so much longer than predicted, and the line of a small network on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from test_line import request
from torch import nn

from tailor import trace
from tailor.console import SilentReporter
from tailor.latency.factored import Coefficients, FactoredLatency, FactoredTerms, FitError, LayerTerm, LoneLayer
from tailor.latency.profile import Profile
from tailor.pipeline.begin import begin
from tailor.pipeline.request import Line
from tailor.pipeline.task import SearchTask
from tailor.records import Budget, Environment, Interval, Outcome, Verdict
from tailor.spec import Target, Widths

TARGET = Target(threads=1)


def line_of(place: Path, name: str) -> Line:
    sizes = {} if name == "lacp" else {"cycles": None, "population": None}
    return begin(request(place, method=name, **sizes), SilentReporter())


def every_second(line: Line) -> dict[str, tuple[int, ...]]:
    """Candidates that no measurement decides."""
    return {g.name: (g.width,) if g.pinned else tuple(range(4, g.width + 1, 2)) for g in line.graph.groups}


def planted_profile(line: Line) -> Profile:
    """What profiling a machine finds whose latency is 50 us and 50 ps for every multiply-accumulate."""
    candidates = every_second(line)
    narrowest = {group: own[0] for group, own in candidates.items()}
    layers = [
        LayerTerm(
            name=layer.name, shape=layer.shape, inputs=layer.inputs, outputs=layer.outputs, calls=layer.calls, lone=0,
            signature=0,
        )
        for layer in line.graph.layers
    ]
    terms = FactoredTerms(
        layers=tuple(layers),
        lone=(LoneLayer(ns=0, inputs=None, outputs=None, quantum_in=1, quantum_out=1),),
        coefficients=(
            Coefficients(lone=0.0, product=0.05, outputs=0.0, inputs=0.0, traffic_out=0.0, traffic_in=0.0),
        ),
        constant_ns=50_000.0,
        dense_ns=0,
        q90=0.01,
        narrowest=narrowest,
    )
    dense_ns = FactoredLatency(terms).predict(Widths(line.graph.dense_widths)).ns
    smallest_ns = FactoredLatency(terms).predict(Widths(narrowest)).ns
    return Profile(
        target=TARGET,
        environment=Environment(facts={}),
        protocol="quick",
        dense=Interval(value=dense_ns, low=0.99 * dense_ns, high=1.01 * dense_ns),
        resolution=0.005,
        staircases=(),
        candidates=candidates,
        networks=(),
        terms=replace(terms, dense_ns=dense_ns),
        surfaces=None,
        error=FitError(mean=0.0, worst=0.0, within_5=1.0, within_10=1.0, q90=0.01, kendall_tau=1.0, networks=12),
        instance_noise=0.005,
        smallest_ns=smallest_ns,
        layer_probes=0,
        layer_probes_found=0,
        networks_found=0,
        seconds=0.0,
    )


def task_of(
    line: Line, profiled: Profile, timer: PlantedTimer, candidates: Mapping[str, tuple[int, ...]], limit_ns: int
) -> SearchTask:
    """A search on a planted machine."""
    return SearchTask(line=line, profiled=profiled, timer=timer, candidates=candidates, limit_ns=limit_ns)  # type: ignore[arg-type]


class PlantedTimer:
    """A machine on which every structure takes so much longer than predicted, and one of them far longer.

    `slope` adds to the error what a structure is predicted to take above 70 % of the dense latency, times itself;
    `scatter` is by how much every second structure takes longer and the others less long; `half` is how far the
    intervals go to either side.
    """

    def __init__(
        self,
        profiled: Profile,
        error: float,
        *,
        spike: float = 1.0,
        slope: float = 0.0,
        scatter: float = 0.0,
        half: float = 0.01,
    ) -> None:
        self.profiled, self.error, self.spike, self.slope, self.half = profiled, error, spike, slope, half
        self.scatter = scatter
        self.asked: list[list[Widths]] = []

    def ratios(self, structures: Sequence[Widths]) -> list[Interval]:
        self.asked.append(list(structures))
        predicted = [self.profiled.latency.predict(widths).ns / self.profiled.dense_ns for widths in structures]
        values = [self.true(share) * (1 + self.scatter * (-1) ** place) for place, share in enumerate(predicted)]
        values[0] *= self.spike
        return [Interval(value=v, low=(1 - self.half) * v, high=(1 + self.half) * v) for v in values]

    def true(self, share: float) -> float:
        return (self.error + self.slope * (share - 0.7)) * share


class PlantedProcess:
    """A fresh process in which every network takes so much longer than predicted, or always the same share of dense."""

    def __init__(self, profiled: Profile, error: float, *, share: float | None = None) -> None:
        self.profiled, self.error, self.share = profiled, error, share
        self.judged: list[Widths] = []

    def __call__(self, line: Line, small: nn.Module, folder: Path, *, data: object) -> Verdict:
        widths = trace(small, line.request.example_inputs).dense_widths
        self.judged.append(widths)
        predicted = self.profiled.latency.predict(widths).ns / self.profiled.dense_ns
        value = self.error * predicted if self.share is None else self.share
        ratio = Interval(value=value, low=0.995 * value, high=1.005 * value)
        limit_ns = line.request.budget.limit_ns(self.profiled.dense_ns)
        outcome = Outcome.PASS if ratio.high * self.profiled.dense_ns <= limit_ns else Outcome.FAIL
        return replace(PASSED, outcome=outcome, ratio=ratio, dense=self.profiled.dense, limit_ns=limit_ns)


PASSED = Verdict(
    outcome=Outcome.PASS, reason="planted", budget=Budget.parse("75%"), limit_ns=1, target=TARGET,
    dense=Interval(value=1.0, low=1.0, high=1.0), pruned=Interval(value=1.0, low=1.0, high=1.0),
    ratio=Interval(value=1.0, low=1.0, high=1.0), resolution=0.0, instances=3, equivalent=True, accuracy=None,
    dense_accuracy=None, environment=Environment(facts={}),
)
