"""A device whose latencies are known: padded products per layer, noise, drift between sessions, and failures."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import nn

from tailor.protocols import Subject
from tailor.records import Environment, Measurement, NodeTime, TimingSettings

BLOCK = 8
AREA = 144  # outputs per channel: every planted network keeps its 12 x 12


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
        self.accounted = 0  # networks whose nodes were told
        self._random = random.Random(0)

    def true_ns(self, module: nn.Module) -> float:
        """Latency of a module alone or of a whole network."""
        return true_ns(module)

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
            ns = self.true_ns(subject.module) * clock
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


class PlantedAccountant(PlantedDevice):
    """A device whose networks take more than their layers alone, and whose engine accounts for every node.

    Inside a network, inputs that are no multiple of 8 need another kernel, and what lies beyond half a megabyte of
    weights and activations makes weights dearer. Accounting makes every node longer by `OVERHEAD` ns.
    """

    OVERHEAD = 400.0

    def true_ns(self, module: nn.Module) -> float:
        """A layer alone as `PlantedDevice` has it, a whole network from its nodes and a constant."""
        if isinstance(module, nn.Conv2d | nn.Linear) or len(list(module.modules())) < 4:
            return true_ns(module)
        return 10_000 + sum(node.ns for node in self.nodes(module))

    def nodes(self, module: nn.Module) -> list[NodeTime]:
        """The network's parts in order: convolutions and linear layers by name, norms as work of no layer."""
        written = AREA * sum(part.out_channels for part in module.modules() if isinstance(part, nn.Conv2d))
        megabytes = 4e-6 * (written + sum(p.numel() for p in module.parameters()))
        fetched = 12 * min(max(2 * (megabytes - 0.5), 0.0), 1.0)
        found = []
        for name, part in module.named_modules():
            if isinstance(part, nn.Conv2d):
                product = part.in_channels * part.out_channels / part.groups
                jump = 1.0 if part.in_channels % BLOCK == 0 or part.in_channels == 3 else 1.8
                padded_product = part.in_channels * padded(part.out_channels) / part.groups
                ns = 2_000 + 20 * jump * padded_product + (fetched * product if part.groups == 1 else 0)
                found.append(NodeTime(name=name, layer=name, kind="Conv", kernel="planted", ns=ns))
            elif isinstance(part, nn.Linear):
                ns = 1_000 + 2 * part.in_features * part.out_features
                found.append(NodeTime(name=name, layer=name, kind="Gemm", kernel="planted", ns=ns))
            elif isinstance(part, nn.BatchNorm2d):
                ns = 500.0 + 60 * part.num_features
                found.append(NodeTime(name=name, layer=None, kind="Norm", kernel="planted", ns=ns))
        return found

    def account(
        self, subjects: Sequence[Subject], settings: TimingSettings, seconds: float
    ) -> tuple[list[Measurement], dict[str, tuple[NodeTime, ...]]]:
        """Samples as `measure` gives them; every node 1 % noisy and longer by what accounting costs."""
        measurements = self.measure(subjects, settings)
        accounts = {
            subject.key: tuple(
                replace(node, ns=node.ns * (1 + 0.01 * self._random.gauss(0, 1)) + self.OVERHEAD)
                for node in self.nodes(subject.module)
            )
            for subject, measurement in zip(subjects, measurements, strict=True)
            if measurement.failure is None
        }
        self.accounted += len(accounts)
        return measurements, accounts
