"""What each command takes, as a frozen record, and how click fills it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TypeVar, get_type_hints

import click

__all__ = [
    "CompareOptions",
    "DemoOptions",
    "DoctorOptions",
    "ExportOptions",
    "GraphOptions",
    "InspectOptions",
    "MeasureOptions",
    "MethodsOptions",
    "ModelOptions",
    "ProfileOptions",
    "PruneOptions",
    "ReportOptions",
    "TargetOptions",
    "WavesOptions",
    "command",
]

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Which network, with which weights, on which input size ((channels, height, width); None is the network's own)."""

    model: str
    weights: Path | None
    pretrained: bool
    classes: int | None
    input_shape: tuple[int, int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphOptions:
    """Which channels must stay, how fine cuts may be, and whether the exported graph or whole branches may be cut."""

    pin: tuple[str, ...]
    min_width: int
    quantum: int
    form: str
    depth: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOptions:
    """Where and how the network will run, and how it is timed; `batch_size` None leaves it to the protocol."""

    engine: str
    device: str
    batch_size: int | None
    threads: int
    layout: str
    precision: str
    protocol: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectOptions:
    """`tailor inspect`; latencies are measured where `place.engine` names an engine, and not where it is ""."""

    network: ModelOptions
    bounds: GraphOptions
    place: TargetOptions
    json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileOptions:
    """`tailor profile`."""

    network: ModelOptions
    bounds: GraphOptions
    place: TargetOptions
    networks: int
    plot: Path | None
    json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureOptions:
    """`tailor measure`."""

    network: ModelOptions
    place: TargetOptions
    versus: str | None
    instances: int | None
    json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneOptions:
    """`tailor prune`; None leaves a choice to the method, the recipe or the default."""

    network: ModelOptions
    bounds: GraphOptions
    place: TargetOptions
    budget: str
    data: str | None
    method: str
    importance: str | None
    latency: str | None
    fitness: str | None
    residual: str | None
    cycles: int | None
    population: int | None
    solver: str | None
    networks: int
    recipe: str | None
    epochs: int | None
    distill: bool | None
    out: Path | None
    resume: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """`tailor compare`: what every run shares, and the methods, budgets and number of seeds they differ in."""

    network: ModelOptions
    bounds: GraphOptions
    place: TargetOptions
    budget: tuple[str, ...]
    methods: str
    seeds: int
    data: str
    residual: str | None
    networks: int
    recipe: str | None
    finetune_epochs: int | None
    distill: bool | None
    out: Path

    def shared(self) -> PruneOptions:
        """One of the runs, as `tailor prune` would be asked for it."""
        return PruneOptions(
            network=self.network, bounds=self.bounds, place=self.place, budget=self.budget[0], data=self.data,
            method=self.methods.split(",")[0].strip(), importance=None, latency=None, fitness=None,
            residual=self.residual, cycles=None, population=None, solver=None, networks=self.networks,
            recipe=self.recipe, epochs=self.finetune_epochs, distill=self.distill, out=self.out, resume=False,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """`tailor demo`."""

    out: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """`tailor doctor`."""

    device: str
    threads: int
    json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodsOptions:
    """`tailor methods`."""

    json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WavesOptions:
    """`tailor analyze-waves`; `network.model` may be a trace file."""

    network: ModelOptions
    also: tuple[Path, ...]
    largest_batch: int
    json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """`tailor export`; `network.model` may be a run folder, `batch_size` None leaves the batch free."""

    network: ModelOptions
    formats: str
    out: Path | None
    batch_size: int | None
    json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """`tailor report`."""

    run: Path


def command(group: click.Group, name: str, record: type[Record]) -> Callable[[Callable[[Record], int]], click.Command]:
    """Make a function of one record a command: click fills the record, the function's answer is the exit code."""

    def decorate(function: Callable[[Record], int]) -> click.Command:
        @functools.wraps(function)
        def call(**values: object) -> int:
            return function(_filled(record, values))

        return group.command(name)(call)

    return decorate


def _filled(record: type[Record], values: Mapping[str, object]) -> Record:
    """The record with its fields, and those of the records inside it, taken from click's values by name."""
    kinds = get_type_hints(record)
    names = [each.name for each in fields(record)]  # type: ignore[arg-type]
    return record(**{n: _filled(kinds[n], values) if is_dataclass(kinds[n]) else values[n] for n in names})
