"""`profile`: the dense network, its layers' staircases, whole networks of random widths, and a model of them all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from tailor.database import Database
from tailor.engines import open_device
from tailor.errors import MeasurementError, NothingToPruneError
from tailor.latency.candidates import draw_networks, group_candidates, modelled_candidates
from tailor.latency.factored import FactoredTerms, FitError, LoneLayer
from tailor.latency.fitting import fit_factored
from tailor.latency.profile import NetworkProbe, Profile
from tailor.latency.surface_fitting import FEWEST_NETWORKS, AccountedNetwork, fit_surfaces
from tailor.latency.surface_model import SurfaceLatency, SurfaceTerms
from tailor.profiling.layers import LayerTimer, Progress
from tailor.profiling.networks import NetworkTimer
from tailor.profiling.probes import NetworkProbes, Probed
from tailor.profiling.stairs import find_stairs, lone_layers, plan_stairs, points_within, stairs_by_layer
from tailor.records import Environment, Interval, TimingSettings
from tailor.spec import ChannelGraph, Target, Widths
from tailor.timing import aa_resolution, claimable_step, settings_named, summary_interval

__all__ = ["profile"]

_DENSE_ATTEMPTS, _QUIET = 3, 0.02  # sessions at most, and the resolution that needs no other
_TOO_NOISY = 0.05  # a resolution at which a missing step says nothing about the network
_DENSE_SECONDS = 20.0  # the profile wants the dense latency, not a publishable one: verification measures again
_ACCOUNTED_SHARE = 0.8  # of the networks that must have an account before surfaces are fitted to them
_NETWORK_SECONDS = (180.0, 450.0, 360.0)  # time for whole networks: base, per second of dense latency, most
_STAIR_SECONDS = 240.0  # for making lone layers ready: engines that compile for long get fewer points per stair
_LAYER_SECONDS = (8.0, 120.0, 90.0)  # time for lone layers, likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dense:
    """The dense network's latency in ns, what two copies differed by, and the seconds to prepare one of them."""

    interval: Interval
    resolution: float
    prepare: float


def profile(  # noqa: PLR0913  what is profiled, where, and how thoroughly
    model: nn.Module,
    graph: ChannelGraph,
    example_inputs: Any,
    target: Target,
    *,
    database: Database,
    settings: TimingSettings | None = None,
    networks: int = 160,
    seed: int = 0,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> Profile:
    """Learn how fast the network would be on the target at any widths, and which widths are worth trying.

    `settings` time the dense network; layers and probe networks are timed with as many rounds as a time that grows
    with the dense latency allows (about two minutes where a call takes milliseconds, at most about eight). What the
    database knows is not timed again. `progress` is told (stage, done, total), `tell` how long it may take once the
    dense network has been timed. The model is left as found.

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
    plans = plan_stairs(graph)
    layer_seconds = layers.cost()
    limit = points_within(_STAIR_SECONDS, layer_seconds, len(plans))
    (tell or _say_to_nobody)(_expected(dense, len(plans) * limit, layer_seconds, networks))
    staircases = find_stairs(
        plans,
        layers,
        resolution=dense.resolution,
        seconds=_seconds(_LAYER_SECONDS, dense),
        ns_per_mac=dense.interval.value / max(1, graph.macs(graph.dense_widths) * target.batch_size),
        limit=limit,
        dense_shapes=[layer.shape for layer in graph.layers],
    )
    candidates = group_candidates(graph, stairs_by_layer(staircases), dense.resolution)
    _require_choice(candidates, dense.resolution, target)
    probes = NetworkProbes(timer=timer, environment=environment, database=database, seed=seed, progress=say)
    probed = probes.time(
        draw_networks(graph, candidates, networks, seed),
        seconds=_seconds(_NETWORK_SECONDS, dense),
        dense_seconds=dense.interval.value / 1e9,
    )
    lone = lone_layers(graph, staircases, {shape: found.ns for shape, found in layers.times.items()})
    fit = _fitted(graph, lone, probed, round(dense.interval.value), seed)
    if fit.surfaces is not None:
        latency = SurfaceLatency(fit.surfaces)
        candidates = modelled_candidates(graph, latency, fit.surfaces.narrowest, dense.resolution)
        _require_choice(candidates, dense.resolution, target)
    smallest = probes.learn([_narrowest(candidates)], probed)[0]
    return Profile(
        target=target,
        environment=environment,
        protocol=settings.name,
        dense=dense.interval,
        resolution=dense.resolution,
        staircases=staircases,
        candidates=candidates,
        networks=fit.networks,
        terms=fit.terms,
        surfaces=fit.surfaces,
        error=fit.error,
        instance_noise=probed.instance_noise,
        smallest_ns=round(smallest.ratio * dense.interval.value),
        layer_probes=layers.measured,
        layer_probes_found=layers.found,
        networks_found=probed.found,
        seconds=time.perf_counter() - started,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fitted:
    """The better of the two latency models, its held-out error, and the networks with their held-out predictions."""

    terms: FactoredTerms | None
    surfaces: SurfaceTerms | None
    error: FitError
    networks: tuple[NetworkProbe, ...]


def _fitted(
    graph: ChannelGraph, lone: Mapping[str, LoneLayer], probed: Probed, dense_ns: int, seed: int
) -> _Fitted:
    """Fit both models to the same networks and keep the one whose held-out predictions are closer on average."""
    samples = [(widths, round(found.ratio * dense_ns), found.noise) for widths, found in probed.times.items()]
    dense = graph.dense_widths
    factored = fit_factored(
        graph.layers, lone, [*samples, (dense, dense_ns, 0.0)], dense=dense, dense_ns=dense_ns, seed=seed
    )
    best = _Fitted(
        terms=factored.terms,
        surfaces=None,
        error=factored.error,
        networks=_network_probes(samples, factored.predicted_ns[:-1]),
    )
    accounted = [
        AccountedNetwork(widths=widths, ns=ns, noise=noise, account=probed.accounts[widths])
        for widths, ns, noise in samples
        if widths in probed.accounts
    ]
    if len(accounted) < max(FEWEST_NETWORKS, _ACCOUNTED_SHARE * len(samples)):
        return best
    fit = fit_surfaces(graph, accounted, dense_ns=dense_ns, seed=seed)
    if fit.error.mean >= best.error.mean:
        return best
    return _Fitted(
        terms=None,
        surfaces=fit.terms,
        error=fit.error,
        networks=_network_probes([(n.widths, n.ns, n.noise) for n in accounted], fit.predicted_ns),
    )


def _network_probes(
    samples: Sequence[tuple[Widths, int, float]], predicted: Sequence[int]
) -> tuple[NetworkProbe, ...]:
    return tuple(
        NetworkProbe(widths=dict(widths), ns=ns, noise=noise, predicted_ns=told)
        for (widths, ns, noise), told in zip(samples, predicted, strict=True)
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
    started = time.perf_counter()
    measurements = timer.device.measure([timer.subject(widths), timer.subject(widths, copy=1)], settings)
    elapsed = time.perf_counter() - started
    for measurement in measurements:
        if measurement.failure is not None:
            raise MeasurementError(f"the dense network could not be timed: {measurement.failure}", value=measurement)
    database.add(environment, measurements)
    first, second = (measurement.samples_ns for measurement in measurements)
    timed = measurements[0].conditions.seconds if measurements[0].conditions is not None else elapsed
    return _Dense(
        interval=summary_interval(first, settings),
        resolution=aa_resolution(first, second),
        prepare=max(0.0, elapsed - timed) / len(measurements),
    )


def _expected(dense: _Dense, points: int, layer_seconds: float, networks: int) -> str:
    """How long the profile may take, when the database knows nothing of it yet."""
    layers = min(points * layer_seconds, 2 * _STAIR_SECONDS) + _seconds(_LAYER_SECONDS, dense)
    one = dense.prepare + 20 * dense.interval.value / 1e9
    minutes = (layers + min(networks * one, _seconds(_NETWORK_SECONDS, dense))) / 60
    return f"dense {dense.interval.value / 1e6:.3f} ms; the profile takes up to {max(1, round(minutes))} min from here"


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


def _say_to_nobody(line: str) -> None:
    """Nobody asked to be told."""


def _say_nothing(stage: str, done: int, total: int) -> None:
    """Nobody asked to be told."""
