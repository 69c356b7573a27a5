"""Times whole networks of given widths, as ratios to the dense network timed in the same rounds."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from tailor.channels import build
from tailor.engines.subjects import network_subject
from tailor.errors import MeasurementError
from tailor.latency.accounts import NetworkAccount, settle
from tailor.protocols import Accountant, Device, Subject
from tailor.records import Measurement, TimingSettings
from tailor.spec import ChannelGraph, KeepPlan, Widths
from tailor.timing import SHARES, counted, quickest_interval, ratio_interval

__all__ = ["NetworkTime", "NetworkTimer", "TimedNetworks", "build_widths"]

_FEWEST_DENSE = 2  # instances of the dense network in every session, which tell by how much instances differ
_ACCOUNT_SECONDS = 0.12  # of running for one network's account
_QUIETEST = 0.005  # relative standard error below which a session counts no more: instances differ by that


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

    def over(self, factor: float) -> NetworkTime:
        """The same divided by a factor."""
        return NetworkTime(ratio=self.ratio / factor, low=self.low / factor, high=self.high / factor)

    @classmethod
    def combined(cls, sessions: Sequence[NetworkTime]) -> NetworkTime:
        """What several sessions say together: the mean of their log-ratios, by how sure each is."""
        if len(sessions) == 1:
            return sessions[0]
        weights = [1 / max(session.noise, _QUIETEST) ** 2 for session in sessions]
        logs = [math.log(session.ratio) for session in sessions]
        mean = sum(weight * log for weight, log in zip(weights, logs, strict=True)) / sum(weights)
        reach = 1.96 / math.sqrt(sum(weights))
        return cls(ratio=math.exp(mean), low=math.exp(mean - reach), high=math.exp(mean + reach))


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedNetworks:
    """One session: its name, the networks that ran, their engine's accounts, and the raw data.

    `times`, and `instances`, the latency in ns of every instance of the dense network, are by statistic (see
    tailor.timing.SHARES): which of them counts is known later. `seconds` went into the rounds, None where the device
    does not tell; what the session took beyond them made the networks ready or gave accounts.
    """

    session: str
    times: Mapping[str, Mapping[Widths, NetworkTime]]
    accounts: Mapping[Widths, NetworkAccount]
    instances: Mapping[str, tuple[float, ...]]
    rounds: int
    seconds: float | None
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkTimer:
    """Builds and times narrowed networks beside the dense one."""

    model: nn.Module
    graph: ChannelGraph
    example_inputs: Any
    batch_size: int
    device: Device

    def time(
        self, networks: Sequence[Widths], settings: TimingSettings, *, account: bool = False
    ) -> TimedNetworks:
        """Time the networks in one interleaved session beside fresh instances of the dense one.

        All ratios have the mean of these instances in common, so there are as many as the root of the networks'
        number: where n are compared with one and the same, that divides the time best (Dunnett, 1955).

        With `account`, the engine tells afterwards what their parts took, where it can; that takes time of its own.

        Raises:
            MeasurementError: the dense network cannot be run.
        """
        instances = max(_FEWEST_DENSE, math.isqrt(len(networks)))
        dense = [self.subject(self.graph.dense_widths, copy=copy) for copy in range(instances)]
        subjects = [*dense, *(self.subject(widths) for widths in networks)]
        measurements, accounts = self._measured(subjects, settings, account=account)
        by_key = {measurement.subject: measurement for measurement in measurements}
        return TimedNetworks(
            session=measurements[0].session,
            times=self.ratios(networks, by_key),
            accounts={widths: accounts[key] for widths in networks if (key := self.key(widths)) in accounts},
            instances=self.instances(by_key),
            rounds=max(len(measurement.samples_ns) for measurement in measurements),
            seconds=conditions.seconds if (conditions := measurements[0].conditions) is not None else None,
            measurements=tuple(measurements),
        )

    def ratios(
        self, networks: Sequence[Widths], session: Mapping[str, Measurement]
    ) -> dict[str, dict[Widths, NetworkTime]]:
        """By statistic, each network of a session over the mean instance of the dense one; failed ones are left out.

        Raises:
            MeasurementError: the dense network failed or is not among the session's measurements.
        """
        sound = _sound(session)
        dense = self._dense_keys(session)
        own = {widths: key for widths in networks if (key := self.key(widths)) in sound}
        return {statistic: _times(own, dense, counted(sound, statistic), statistic) for statistic in SHARES}

    def instances(self, session: Mapping[str, Measurement]) -> dict[str, tuple[float, ...]]:
        """By statistic, the latency in ns of each instance of the dense network that did not fail."""
        sound = _sound(session)
        dense = self._dense_keys(session)
        samples = {statistic: counted(sound, statistic) for statistic in SHARES}
        return {
            statistic: tuple(quickest_interval(own[key], statistic).value for key in dense)
            for statistic, own in samples.items()
        }

    def _dense_keys(self, session: Mapping[str, Measurement]) -> list[str]:
        """Of the instances of the dense network that did not fail.

        Raises:
            MeasurementError: there is none.
        """
        copies = [*itertools.takewhile(session.__contains__, map(self._dense_key, itertools.count()))]
        dense = [key for key in copies if session[key].failure is None]
        if not dense:
            failure = session[copies[0]].failure if copies else "it was not timed"
            raise MeasurementError(f"the dense network could not be timed: {failure}", value=failure)
        return dense

    def _measured(
        self, subjects: Sequence[Subject], settings: TimingSettings, *, account: bool
    ) -> tuple[list[Measurement], dict[str, NetworkAccount]]:
        """What the subjects took, and the accounts of those whose engine gives one."""
        if not account or not isinstance(self.device, Accountant):
            return self.device.measure(subjects, settings), {}
        measurements, nodes = self.device.account(subjects, settings, _ACCOUNT_SECONDS)
        layers = [layer.name for layer in self.graph.layers]
        settled = {key: settle(found, layers) for key, found in nodes.items()}
        return measurements, {key: account for key, account in settled.items() if account is not None}

    def _dense_key(self, copy: int) -> str:
        return self.key(self.graph.dense_widths) + (f" copy {copy}" if copy else "")

    def subject(self, widths: Widths, *, copy: int = 0) -> Subject:
        """The network of these widths, ready to be timed; copies of it have keys of their own."""
        module = self.model if widths == self.graph.dense_widths else build_widths(self.model, self.graph, widths)
        key = self.key(widths) + (f" copy {copy}" if copy else "")
        return network_subject(key, module, self.example_inputs, self.batch_size)

    def bytes(self, widths: Widths) -> int:
        """About what the network fills while it is ready: its weights, a copy of them, and its largest layer twice."""
        shapes = [layer.at(widths) for layer in self.graph.layers]
        largest = max((each.in_channels + each.out_channels) * math.prod(each.spatial) for each in shapes)
        return 8 * (self.graph.parameters(widths) + self.batch_size * largest)

    def key(self, widths: Widths) -> str:
        """Names the network in the database: equal graphs, layers and widths have equal keys."""
        return f"network {self.graph.fingerprint} {_digest(f'{self._layers}|{sorted(widths.items())}')}"

    @property
    def family(self) -> str:
        """Names all networks that differ in their widths alone."""
        return f"networks {self.graph.fingerprint} {_digest(self._layers)}"

    @property
    def _layers(self) -> str:
        return repr([(layer.name, layer.shape, layer.calls) for layer in self.graph.layers])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _sound(session: Mapping[str, Measurement]) -> dict[str, Measurement]:
    """The measurements of a session that did not fail."""
    return {key: measurement for key, measurement in session.items() if measurement.failure is None}


def _times(
    own: Mapping[Widths, str], dense: Sequence[str], samples: Mapping[str, Sequence[int]], statistic: str
) -> dict[Widths, NetworkTime]:
    """Each network over the mean of the dense instances; all by their keys in the session."""
    yardstick = [samples[key] for key in dense]
    ratios = {widths: ratio_interval(samples[key], *yardstick, statistic=statistic) for widths, key in own.items()}
    return {widths: NetworkTime(ratio=ratio.value, low=ratio.low, high=ratio.high) for widths, ratio in ratios.items()}


def build_widths(model: nn.Module, graph: ChannelGraph, widths: Widths) -> nn.Module:
    """The network that keeps the first units of every group: for timing, where which units stay does not matter."""
    kept = {group: tuple(range(width)) for group, width in widths.items()}
    return build(model, graph, KeepPlan(fingerprint=graph.fingerprint, kept=kept))
