"""Whole candidate networks, built and timed beside the dense one: the truth that predictions are held against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from tailor.channels import build
from tailor.engines.subjects import network_subject
from tailor.importance.selection import Ranking
from tailor.instances import compare_instances
from tailor.measuring import instances_of
from tailor.protocols import Device
from tailor.records import Estimate, Interval, TimingSettings, Trial
from tailor.spec import Target, Widths
from tailor.timing import ratio_interval

__all__ = ["CandidateTimer", "Finalist", "choose"]

_FREEDOM = 6  # degrees of freedom from which on Student's interval is hardly wider than the normal one's


class CandidateTimer:
    """Times networks of given widths in one session with the dense network; latencies are ratios to it.

    Also a `LatencyModel` that measures every structure it is asked about ("latency as the direct metric").
    """

    def __init__(
        self,
        model: nn.Module,
        ranking: Ranking,
        example_inputs: Any,
        target: Target,
        device: Device,
        settings: TimingSettings,
        dense_ns: int,
    ) -> None:
        self._model = model
        self._ranking = ranking
        self._inputs = example_inputs
        self._target = target
        self._device = device
        self._settings = settings
        self._dense_ns = dense_ns

    def ratios(self, structures: Sequence[Widths]) -> list[Interval]:
        """Latency over the dense network's, for each structure, from one session with fresh instances of all.

        Raises:
            MeasurementError: a network could not be run; names its failure.
        """
        count = max(2, 1 + math.ceil(_FREEDOM / (1 + len(structures))))
        dense, *rest = self._samples(structures, 1 if self._settings.statistic == "mean" else count)
        if len(dense) == 1:
            return [ratio_interval(own[0], dense[0]) for own in rest]
        return [
            compare_instances([(own, dense)], peers=[other for other in rest if other is not own]).ratio for own in rest
        ]

    def predict(self, widths: Widths) -> Estimate:
        """The latency of one structure, measured with one instance: a search asks for hundreds of them."""
        dense, own = self._samples([widths], 1)
        ratio = ratio_interval(own[0], dense[0])
        ns, low, high = (round(share * self._dense_ns) for share in (ratio.value, ratio.low, ratio.high))
        return Estimate(ns=ns, low_ns=low, high_ns=high, source="measured")

    def _samples(self, structures: Sequence[Widths], instances: int) -> list[list[tuple[int, ...]]]:
        """Samples of every instance, the dense network first."""
        nets = [build(self._model, self._ranking.graph, self._ranking.keep(widths)) for widths in structures]
        modules = {"dense": self._model} | {f"candidate {number}": net for number, net in enumerate(nets)}
        subjects = {
            key: network_subject(key, net, self._inputs, self._target.batch_size) for key, net in modules.items()
        }
        timed = instances_of(self._device, subjects, replace(self._settings, paired=True), instances)
        return [[found.samples_ns for found in group] for group in timed.values()]


class Finalist:
    """A scored trial with its measured ratio to the dense network."""

    __slots__ = ("ratio", "trial")

    def __init__(self, trial: Trial, ratio: Interval) -> None:
        self.trial = trial
        self.ratio = ratio


def choose(
    trials: Sequence[Trial], timer: CandidateTimer, dense_ns: int, limit_ns: int, *, shortlist: int = 6, rounds: int = 4
) -> list[Finalist]:
    """Measured finalists, those within the limit first and by falling score, then the others by rising latency.

    The best-scored trials are measured side by side. Where none keeps the limit, what measuring taught about the
    prediction's error is applied to all trials and the next shortlist is drawn, up to `rounds` times.
    """
    limit = limit_ns / dense_ns
    left = sorted((t for t in trials if t.score is not None), key=lambda t: (-(t.score or 0.0), t.latency.ns, t.number))
    measured: list[Finalist] = []
    excess = 1.0
    for _ in range(rounds):
        fitting = [t for t in left if t.latency.ns * excess <= limit_ns] or sorted(left, key=lambda t: t.latency.ns)
        batch = fitting[:shortlist]
        if not batch:
            break
        ratios = timer.ratios([Widths(t.widths) for t in batch])
        measured += [Finalist(trial, ratio) for trial, ratio in zip(batch, ratios, strict=True)]
        left = [t for t in left if t not in batch]
        if any(f.ratio.high <= limit for f in measured):
            break
        errors = sorted(f.ratio.value * dense_ns / f.trial.latency.ns for f in measured)
        excess = max(1.0, errors[-1])
    kept = [f for f in measured if f.ratio.high <= limit]
    missed = [f for f in measured if f.ratio.high > limit]
    kept.sort(key=lambda f: (-(f.trial.score or 0.0), f.ratio.value))
    return kept + sorted(missed, key=lambda f: f.ratio.value)
