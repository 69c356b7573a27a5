"""Times whole networks of given widths, as ratios to the dense network timed in the same rounds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from tailor.channels import build
from tailor.engines.subjects import network_subject
from tailor.errors import MeasurementError
from tailor.protocols import Device, Subject
from tailor.records import Estimate, Measurement, TimingSettings
from tailor.spec import ChannelGraph, KeepPlan, Widths
from tailor.timing import ratio_interval

__all__ = ["MeasuredLatency", "NetworkTime", "NetworkTimer", "build_widths"]

_SENTINEL = "dense"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkTime:
    """A network's latency as a ratio to the dense one of the same rounds, with its 95 % interval."""

    ratio: float
    low: float
    high: float

    @property
    def noise(self) -> float:
        """Relative standard error of the ratio."""
        return (self.high - self.low) / (2 * 1.96) / self.ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkTimer:
    """Builds and times narrowed networks beside the dense one."""

    model: nn.Module
    graph: ChannelGraph
    example_inputs: Any
    batch_size: int
    device: Device

    def time(
        self, networks: Sequence[Widths], settings: TimingSettings
    ) -> tuple[dict[Widths, NetworkTime], list[Measurement]]:
        """Ratios of the networks that ran, and every raw measurement, of one interleaved session.

        Raises:
            MeasurementError: the dense network cannot be run.
        """
        keys = {widths: self.key(widths) for widths in networks}
        subjects = [self.subject(self.graph.dense_widths), *(self.subject(widths) for widths in networks)]
        measurements = self.device.measure(subjects, settings)
        dense = measurements[0]
        if dense.failure is not None:
            raise MeasurementError(f"the dense network could not be timed: {dense.failure}", value=dense.failure)
        by_key = {measurement.subject: measurement for measurement in measurements}
        times = {}
        for widths, key in keys.items():
            if by_key[key].failure is None:
                ratio = ratio_interval(by_key[key].samples_ns, dense.samples_ns)
                times[widths] = NetworkTime(ratio=ratio.value, low=ratio.low, high=ratio.high)
        return times, measurements

    def subject(self, widths: Widths, *, copy: int = 0) -> Subject:
        """The network of these widths, ready to be timed; copies of it have keys of their own."""
        module = self.model if widths == self.graph.dense_widths else build_widths(self.model, self.graph, widths)
        key = self.key(widths) + (f" copy {copy}" if copy else "")
        return network_subject(key, module, self.example_inputs, self.batch_size)

    def key(self, widths: Widths) -> str:
        """Names the network in the database: equal graphs, layers and widths have equal keys."""
        layers = repr([(layer.name, layer.shape, layer.calls) for layer in self.graph.layers])
        digest = hashlib.sha256(f"{layers}|{sorted(widths.items())}".encode()).hexdigest()[:16]
        return f"network {self.graph.fingerprint} {digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredLatency:
    """A latency model (see protocols) that builds and times each network whole instead of predicting it.

    Answers are ratios to the dense network of the same rounds times `dense_ns`. Two askings of the same widths
    agree up to noise only: keep the answer.
    """

    timer: NetworkTimer
    settings: TimingSettings
    dense_ns: int

    def predict(self, widths: Widths) -> Estimate:
        """Latency of the whole network, measured now.

        Raises:
            MeasurementError: the network could not be run.
        """
        if widths == self.timer.graph.dense_widths:
            return Estimate(ns=self.dense_ns, low_ns=self.dense_ns, high_ns=self.dense_ns)
        times, measurements = self.timer.time([widths], self.settings)
        if widths not in times:
            failure = measurements[-1].failure
            raise MeasurementError(f"a candidate network could not be timed: {failure}", value=dict(widths))
        found = times[widths]
        return Estimate(
            ns=round(found.ratio * self.dense_ns),
            low_ns=round(found.low * self.dense_ns),
            high_ns=round(found.high * self.dense_ns),
        )


def build_widths(model: nn.Module, graph: ChannelGraph, widths: Widths) -> nn.Module:
    """The network that keeps the first units of every group: for timing, where which units stay does not matter."""
    kept = {group: tuple(range(width)) for group, width in widths.items()}
    return build(model, graph, KeepPlan(fingerprint=graph.fingerprint, kept=kept))
