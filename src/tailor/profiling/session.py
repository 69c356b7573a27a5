"""`profile`: the dense network, its layers' staircases, whole networks of random widths, and a model of them all."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from tailor.database import Database
from tailor.engines import open_device
from tailor.errors import MeasurementError, NothingToPruneError
from tailor.latency.candidates import draw_networks, group_candidates
from tailor.latency.fitting import fit_factored
from tailor.latency.profile import LayerStaircase, NetworkProbe, Profile
from tailor.profiling.layers import LayerTimer, Progress
from tailor.profiling.networks import NetworkTimer
from tailor.profiling.probes import NetworkProbes
from tailor.profiling.stairs import find_stairs, lone_layers, plan_stairs, stairs_by_layer
from tailor.records import Environment, Interval, TimingSettings
from tailor.spec import ChannelGraph, Target, Widths
from tailor.timing import aa_resolution, claimable_step, settings_named, summary_interval

__all__ = ["profile"]

_DENSE_ATTEMPTS, _QUIET = 3, 0.02  # sessions at most, and the resolution that needs no other
_TOO_NOISY = 0.05  # a resolution at which a missing step says nothing about the network
_DENSE_SECONDS = 20.0  # the profile wants the dense latency, not a publishable one: verification measures again
_NETWORK_SECONDS = (12.0, 450.0, 240.0)  # time for whole networks: base, per second of dense latency, most
_LAYER_SECONDS = (8.0, 120.0, 90.0)  # time for lone layers, likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dense:
    """The dense network's latency in ns, and what two copies of it differed by."""

    interval: Interval
    resolution: float


def profile(  # noqa: PLR0913  what is profiled, where, and how thoroughly
    model: nn.Module,
    graph: ChannelGraph,
    example_inputs: Any,
    target: Target,
    *,
    database: Database,
    settings: TimingSettings | None = None,
    networks: int = 80,
    seed: int = 0,
    progress: Progress | None = None,
) -> Profile:
    """Learn how fast the network would be on the target at any widths, and which widths are worth trying.

    `settings` time the dense network; layers and probe networks are timed with as many rounds as a time that grows
    with the dense latency allows (ResNet-56 at 7 ms: under a minute; at 280 ms: under four). `progress` is told
    (stage, done, total). The model is left as found.

    Raises:
        NothingToPruneError: no layer of the network gains anything from narrower groups; says why.
        MeasurementError: the dense network, or too many of the probes, cannot be run.
    """
    started = time.perf_counter()
    say = progress or _say_nothing
    settings = settings or settings_named("default", seed=seed)
    device = open_device(target)
    environment = device.environment()
    timer = NetworkTimer(
        model=model, graph=graph, example_inputs=example_inputs, batch_size=target.batch_size, device=device
    )
    dense = _time_dense(timer, environment, database, settings)
    say("dense network", 1, 1)
    layers = LayerTimer(
        device=device,
        environment=environment,
        database=database,
        batch_size=target.batch_size,
        settings=settings_named("quick", seed=seed),
        seed=seed,
        progress=say,
    )
    staircases = _staircases(graph, layers, dense, target)
    candidates = group_candidates(graph, stairs_by_layer(staircases), dense.resolution)
    _require_choice(candidates, dense.resolution, target)
    probes = NetworkProbes(timer=timer, environment=environment, database=database, seed=seed, progress=say)
    times = probes.time(
        draw_networks(candidates, networks, seed),
        seconds=_seconds(_NETWORK_SECONDS, dense),
        dense_seconds=dense.interval.value / 1e9,
    )
    samples = [(widths, round(found.ratio * dense.interval.value), found.noise) for widths, found in times.items()]
    fit = fit_factored(
        graph.layers,
        lone_layers(graph, staircases, {shape: found.ns for shape, found in layers.times.items()}),
        [*samples, (graph.dense_widths, round(dense.interval.value), 0.0)],
        dense=graph.dense_widths,
        dense_ns=round(dense.interval.value),
        seed=seed,
    )
    return Profile(
        target=target,
        environment=environment,
        protocol=settings.name,
        dense=dense.interval,
        resolution=dense.resolution,
        staircases=staircases,
        candidates=candidates,
        networks=tuple(
            NetworkProbe(widths=dict(widths), ns=ns, noise=noise, predicted_ns=predicted)
            for (widths, ns, noise), predicted in zip(samples, fit.predicted_ns[:-1], strict=True)
        ),
        terms=fit.terms,
        error=fit.error,
        smallest_ns=round(times[_narrowest(candidates)].ratio * dense.interval.value),
        layer_probes=layers.measured,
        layer_probes_found=layers.found,
        seconds=time.perf_counter() - started,
    )


def _staircases(
    graph: ChannelGraph, layers: LayerTimer, dense: _Dense, target: Target
) -> tuple[LayerStaircase, ...]:
    """The stairs of every distinct layer shape, within a time that grows with the dense latency."""
    return find_stairs(
        plan_stairs(graph),
        layers,
        resolution=dense.resolution,
        seconds=_seconds(_LAYER_SECONDS, dense),
        ns_per_mac=dense.interval.value / max(1, graph.macs(graph.dense_widths) * target.batch_size),
        dense_shapes=[layer.shape for layer in graph.layers],
    )


def _time_dense(
    timer: NetworkTimer, environment: Environment, database: Database, settings: TimingSettings
) -> _Dense:
    """The quietest of up to three sessions: one disturbed minute would make every later step unclaimable."""
    sessions = []
    for _ in range(1 if settings.fixed_warmup is not None else _DENSE_ATTEMPTS):
        sessions.append(_time_dense_once(timer, environment, database, settings))
        if sessions[-1].resolution <= _QUIET:
            break
    return min(sessions, key=lambda dense: dense.resolution)


def _time_dense_once(
    timer: NetworkTimer, environment: Environment, database: Database, settings: TimingSettings
) -> _Dense:
    """Time the dense network beside a copy of itself; an unlimited protocol stops once it is precise enough."""
    if settings.fixed_warmup is None:
        settings = replace(settings, max_seconds=min(settings.max_seconds, _DENSE_SECONDS))
    widths = timer.graph.dense_widths
    measurements = timer.device.measure([timer.subject(widths), timer.subject(widths, copy=1)], settings)
    for measurement in measurements:
        if measurement.failure is not None:
            raise MeasurementError(f"the dense network could not be timed: {measurement.failure}", value=measurement)
    database.add(environment, measurements)
    first, second = (measurement.samples_ns for measurement in measurements)
    return _Dense(interval=summary_interval(first, settings), resolution=aa_resolution(first, second))


def _seconds(plan: tuple[float, float, float], dense: _Dense) -> float:
    base, per_second, most = plan
    return min(base + per_second * dense.interval.value / 1e9, most)


def _narrowest(candidates: Mapping[str, tuple[int, ...]]) -> Widths:
    return Widths({group: widths[0] for group, widths in candidates.items()})


def _require_choice(candidates: Mapping[str, tuple[int, ...]], resolution: float, target: Target) -> None:
    """Refuse to search where no group has a second width."""
    if all(len(widths) == 1 for widths in candidates.values()):
        step = claimable_step(resolution)
        if resolution > _TOO_NOISY:
            raise MeasurementError(
                f"this host is too noisy to see a step: two copies of the network differed by {resolution:.1%} "
                f"({target}); stop what else runs here and try again",
                value=resolution,
            )
        raise NothingToPruneError(
            f"no group makes its layers faster by {step:.1%} or more when narrowed ({target}); "
            "try a larger batch or input",
            value=step,
        )


def _say_nothing(stage: str, done: int, total: int) -> None:
    """Nobody asked to be told."""
