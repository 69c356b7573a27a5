"""A device whose latencies are known: padded products per layer, noise, drift between sessions, and failures."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from torch import nn

from tailor.protocols import Subject
from tailor.records import Environment, Measurement, TimingSettings

BLOCK = 8


def padded(count: int) -> int:
    """Channels as the device computes them."""
    return -(-count // BLOCK) * BLOCK


def true_ns(module: nn.Module) -> float:
    """Latency of a module: overhead and padded product per layer, and what norms touch."""
    total = 0.0
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            area = part.kernel_size[0] * part.kernel_size[1]
            total += 4_000 + 3 * padded(part.in_channels) * padded(part.out_channels) * area / part.groups
        elif isinstance(part, nn.Linear):
            total += 2_000 + 2 * part.in_features * part.out_features
        elif isinstance(part, nn.BatchNorm2d):
            total += 500 + 60 * part.num_features
    return total


class PlantedDevice:
    """A Device that computes its samples instead of timing."""

    def __init__(
        self, *, noise: float = 0.003, drift: float = 0.0, fails: Callable[[Subject], bool] = lambda subject: False
    ) -> None:
        self.noise, self.drift, self.fails = noise, drift, fails
        self.sessions: list[list[str]] = []
        self._random = random.Random(0)

    def environment(self) -> Environment:
        """One fixed environment."""
        return Environment(facts={"device": "planted"})

    def measure(self, subjects: Sequence[Subject], settings: TimingSettings) -> list[Measurement]:
        """Samples with noise of their own; all of a session share its clock."""
        self.sessions.append([subject.key for subject in subjects])
        clock = 1 + self.drift * len(self.sessions)
        measurements = []
        for subject in subjects:
            failure = "RuntimeError: planted" if self.fails(subject) else None
            ns = true_ns(subject.module) * clock
            rounds = range(max(4, settings.min_rounds))
            samples = [round(ns * (1 + self.noise * self._random.gauss(0, 1))) for _ in rounds]
            measurements.append(
                Measurement(
                    subject=subject.key, environment=self.environment().key, session=f"{id(self)}-{len(self.sessions)}",
                    samples_ns=() if failure else tuple(samples), stopped="failed" if failure else "rounds",
                    failure=failure,
                )
            )
        return measurements
