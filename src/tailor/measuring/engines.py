"""One network on several engines in one session: which is fastest, and whether that matters more than a cut would."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tailor.engines import ENGINES, open_device
from tailor.engines.bench import Bench, Entry, time_together
from tailor.engines.subjects import network_subject
from tailor.errors import InvalidOptionError, MeasurementError, TailorError, UnknownNameError
from tailor.instances import Instances, compare_instances, instances_latency
from tailor.measuring.networks import instance_count
from tailor.protocols import Subject
from tailor.records import Conditions, Environment, Interval, Measurement, TimingSettings
from tailor.spec import Target
from tailor.timing import settings_named

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ALL", "EngineComparison", "EngineTiming", "NotRun", "compare_engines", "targets_named"]

ALL = "all"
REFERENCE = "torch"  # what most networks come from, and so what the others are compared with
_AS_GOOD_AS_A_CUT = 0.75  # an engine this much faster gains what cutting a quarter of the latency would
_OPENVINO_NAMES = {"f32": "fp32", "f16": "fp16"}  # its own names of number formats; bf16 is the same
_LAYOUT_ENGINES = ("torch", "torch-compile", "cuda-graph")  # the others choose their own memory layout


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTiming:
    """The network's latency (ns) on one target and its ratio to the reference, with 95 % intervals.

    `precision` is what the engine really computes in; `ratio` is None where the reference did not run; `resolution` is
    what two instances typically differ by.
    """

    target: Target
    environment: Environment
    precision: str
    latency: Interval
    resolution: float
    ratio: Interval | None
    samples_ns: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRun:
    """A target that was asked for and could not be timed, and why."""

    target: Target
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineComparison:
    """Every engine that ran, fastest first, and every one that did not, with its reason.

    `reference` is the target that ratios are to: eager torch, else the slowest that ran. `advice` tells what the user
    should draw from the table.
    """

    settings: TimingSettings
    reference: Target
    timings: tuple[EngineTiming, ...]
    not_run: tuple[NotRun, ...]
    conditions: Conditions | None
    advice: tuple[str, ...]


def targets_named(engines: str, like: Target) -> tuple[Target, ...]:
    """The targets that "all" or "torch,openvino" means, otherwise like the given one.

    "all" takes OpenVINO twice where fp32 was asked for: as fp32, and with the engine's own default, which is bf16 on
    CPUs that can. Engines that choose their memory layout themselves are asked for none.

    Raises:
        InvalidOptionError: an empty name in the list.
        UnknownNameError: no such engine.
    """
    names = ENGINES if engines == ALL else tuple(name.strip() for name in engines.split(","))
    if not all(names):
        message = f"--engine {engines!r} has an empty name; give all, or names with commas"
        raise InvalidOptionError(message, value=engines)
    unknown = next((name for name in names if name not in ENGINES), None)
    if unknown is not None:
        raise UnknownNameError(f"no engine {unknown!r}; there are {', '.join(ENGINES)}, or all", value=unknown)
    targets = []
    for name in dict.fromkeys(names):
        layout = like.layout if name in _LAYOUT_ENGINES else "contiguous"
        targets.append(replace(like, engine=name, layout=layout))
        if engines == ALL and name == "openvino" and like.precision == "fp32":
            targets.append(replace(targets[-1], precision="auto"))
    return tuple(targets)


def compare_engines(
    model: nn.Module,
    example_inputs: Any,
    targets: Sequence[Target],
    *,
    settings: TimingSettings | None = None,
    instances: int | None = None,
) -> EngineComparison:
    """Time fresh instances of one network on every target, interleaved in one session of shuffled rounds.

    A target that cannot be opened, or that the network does not run on, is a `NotRun`; the others go on.

    Raises:
        MeasurementError: the network runs on none of them; tells each one's reason.
        InvalidOptionError: fewer than two instances.
    """
    settings = settings or settings_named("default")
    count = instance_count(instances, settings)
    subject = network_subject("network", model, example_inputs, targets[0].batch_size)
    not_run: list[NotRun] = []
    opened: dict[Bench, str] = {}
    for target in targets:
        found = _opened(target, {(bench.target.engine, computes) for bench, computes in opened.items()})
        if isinstance(found, NotRun):
            not_run.append(found)
        else:
            opened[found[0]] = found[1]
    timed = _timed(list(opened), subject, settings, count, not_run)
    if not timed:
        reasons = "; ".join(f"{each.target.engine}: {each.reason}" for each in not_run)
        raise MeasurementError(f"the network runs on none of the engines: {reasons}", value=targets)
    return _table(timed, opened, not_run, settings)


def _opened(target: Target, before: Collection[tuple[str, str]]) -> tuple[Bench, str] | NotRun:
    """The target's bench and the precision it computes in; a default that equals an earlier row is left out."""
    try:
        bench = open_device(target)
    except TailorError as error:
        return NotRun(target=target, reason=str(error))
    if target.precision != "auto":
        return bench, target.precision
    executed = bench.environment().facts["executed_precision"]
    precision = _OPENVINO_NAMES.get(executed, executed)
    if (target.engine, precision) in before:
        return NotRun(target=target, reason=f"its default here is {precision}, which is already in the table")
    return bench, precision


def _timed(
    benches: Sequence[Bench], subject: Subject, settings: TimingSettings, instances: int, not_run: list[NotRun]
) -> dict[Bench, list[Measurement]]:
    """Measurements of every instance by bench; failures are moved to `not_run`."""
    if not benches:
        return {}
    entries = [Entry(bench=bench, subject=subject) for bench in benches for _ in range(instances)]
    timed: dict[Bench, list[Measurement]] = {bench: [] for bench in benches}
    for entry, measurement in zip(entries, time_together(entries, settings), strict=True):
        timed[entry.bench].append(measurement)
    for bench in benches:
        failure = next((m.failure for m in timed[bench] if m.failure is not None), None)
        if failure is not None:
            not_run.append(NotRun(target=bench.target, reason=failure))
            del timed[bench]
    return timed


def _table(
    timed: dict[Bench, list[Measurement]], precisions: dict[Bench, str], not_run: Sequence[NotRun],
    settings: TimingSettings,
) -> EngineComparison:
    samples = {bench: tuple(m.samples_ns for m in found) for bench, found in timed.items()}
    latencies = {bench: instances_latency(own, statistic=settings.statistic) for bench, own in samples.items()}
    slowest = max(latencies, key=lambda bench: latencies[bench][0].value)
    reference = next((bench for bench in timed if bench.target.engine == REFERENCE), slowest)
    rows = [
        EngineTiming(
            target=bench.target,
            environment=bench.environment(),
            precision=precisions[bench],
            latency=latency,
            resolution=resolution,
            ratio=None if bench is reference else _ratio(samples[bench], samples[reference], settings),
            samples_ns=samples[bench],
        )
        for bench, (latency, resolution) in latencies.items()
    ]
    rows.sort(key=lambda row: row.latency.value)
    return EngineComparison(
        settings=settings,
        reference=reference.target,
        timings=tuple(rows),
        not_run=tuple(not_run),
        conditions=timed[reference][0].conditions,
        advice=_advice(rows),
    )


def _ratio(own: Instances, reference: Instances, settings: TimingSettings) -> Interval:
    return compare_instances([(own, reference)], statistic=settings.statistic).ratio


def _advice(rows: Sequence[EngineTiming]) -> tuple[str, ...]:
    """When the engine matters more than a cut would, like compared with like, and which rows compute differently."""
    reference = next(row for row in rows if row.ratio is None)
    fastest = next(row for row in rows if row.precision == reference.precision)  # the reference itself, if no other
    name, said = reference.target.engine, []
    if fastest.ratio is not None and fastest.ratio.high < _AS_GOOD_AS_A_CUT:
        said.append(
            f"the engine matters more than a cut here: {fastest.target.engine} runs the uncut network in "
            f"{fastest.ratio.value:.0%} of {name}'s time; choose it first, then prune on it (steps and budgets of one "
            "engine do not carry over to another)"
        )
    for row in rows:
        if row.precision != reference.precision:
            said.append(
                f"{row.target.engine} ({row.target.precision}) computes in {row.precision}, {name} in "
                f"{reference.precision}: part of the difference is the number format"
            )
    return tuple(said)
