"""All that a profile rests on, measured: the dense network and lone layers, then whole networks of random widths."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tailor.latency.candidates import draw_networks, group_candidates
from tailor.latency.factored import LoneLayer
from tailor.latency.profile import LayerStaircase
from tailor.profiling.choice import require_choice
from tailor.profiling.dense import DenseTime, time_dense
from tailor.profiling.fitting import held_out_error
from tailor.profiling.layers import LayerTimer
from tailor.profiling.pace import USUAL_ROUNDS, Pace
from tailor.profiling.probed import Probed
from tailor.profiling.probes import NetworkProbes
from tailor.profiling.stairs import coarse_grids, find_stairs, lone_layers, plan_stairs, points_within, stairs_by_layer
from tailor.records import TimingSettings
from tailor.spec import ChannelGraph, Target
from tailor.timing import SHARES, settings_named

__all__ = ["LayerSurvey", "Survey", "survey_layers", "survey_networks"]

# Time for whole networks: each, and all together; on a quiet machine small ones need less.
_SECONDS_EACH, _NETWORK_SECONDS = 1.5, 400.0
# Measuring ends about here, so that with fitting a profile takes ten minutes: slow layers leave less for networks.
_SECONDS, _FEWEST_SECONDS = 500.0, 100.0
_STAIR_SECONDS = 240.0  # for making lone layers ready: engines that compile for long get fewer points per stair
_FITTING_SECONDS = 30.0  # for the fits afterwards: 13 to 25 for VGG-16 on two shared cores (by hand)
_LAYER_SECONDS = (30.0, 360.0, 90.0)  # time for lone layers: base, per second of dense latency, most
_NARROWED, _BESIDE = 0.7, 0.2  # a narrowed network's latency over the dense one's, seconds to build it and account


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSurvey:
    """What was measured before any narrowed network: the dense one and the layers by themselves.

    `lone` are the layers by name; `candidates` the right edges of their treads; `layer_probes` lone layers timed now,
    `layer_probes_found` those recalled; `layer_statistic` what their times are of (see tailor.timing.SHARES).
    """

    dense: DenseTime
    staircases: tuple[LayerStaircase, ...]
    candidates: Mapping[str, tuple[int, ...]]
    lone: Mapping[str, LoneLayer]
    layer_probes: int
    layer_probes_found: int
    layer_statistic: str
    seconds: float

    @property
    def dense_ns(self) -> int:
        """Latency of the dense network."""
        return round(self.dense.interval.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey(LayerSurvey):
    """All that was measured of a network on a target; the latency models are fitted to it (see `fit_latency`).

    `probed` are the whole networks, as ratios to the dense one.
    """

    probed: Probed


def survey_layers(
    graph: ChannelGraph,
    probes: NetworkProbes,
    target: Target,
    *,
    settings: TimingSettings,
    networks: int,
    tell: Callable[[str], None],
) -> LayerSurvey:
    """Measure what the database of `probes` does not know of the dense network and its layers.

    `target` is what the probes were opened for. Once the dense network has been timed, `tell` is told how long it may
    take, so many whole `networks` after the layers included, less what is known of both (of the layers as far as their
    first grids tell).

    Raises:
        NothingToPruneError: no layer of the network gains anything from narrower groups; says why.
        MeasurementError: the dense network cannot be run.
    """
    started = probes.clock()
    timer, seed = probes.timer, probes.seed
    dense = time_dense(timer, probes.environment, probes.database, settings)
    probes.progress("dense network", 1, 1)
    layers = LayerTimer(
        device=timer.device,
        environment=probes.environment,
        database=probes.database,
        batch_size=timer.batch_size,
        settings=settings_named("quick", seed=seed),
        seed=seed,
        progress=probes.progress,
    )
    plans = plan_stairs(graph)
    layer_seconds = layers.cost()
    limit = points_within(_STAIR_SECONDS, layer_seconds, len(plans))
    ns_per_mac = dense.interval.value / max(1, graph.macs(graph.dense_widths) * timer.batch_size)
    first = coarse_grids(plans, dense.resolution, limit)
    unknown = 1 - layers.known(first)
    preparing = min(len(plans) * limit * layer_seconds, 2 * _STAIR_SECONDS)
    # What refines the grids takes about as long as they do.
    running = 2 * layers.expected(first, seconds=_layer_seconds(dense) / 2, ns_per_mac=ns_per_mac)
    tell(_expected(dense, (preparing + running) * unknown, max(1, networks - probes.known())))
    staircases = find_stairs(
        plans,
        layers,
        resolution=dense.resolution,
        seconds=_layer_seconds(dense),
        ns_per_mac=ns_per_mac,
        limit=limit,
        dense_shapes=[layer.shape for layer in graph.layers],
    )
    candidates = group_candidates(graph, stairs_by_layer(staircases), dense.resolution)
    require_choice(graph, candidates, dense.resolution, target)
    return LayerSurvey(
        dense=dense,
        staircases=staircases,
        candidates=candidates,
        lone=lone_layers(graph, staircases, {shape: found.ns for shape, found in layers.times.items()}),
        layer_probes=layers.measured,
        layer_probes_found=layers.found,
        layer_statistic=layers.statistic,
        seconds=probes.clock() - started,
    )


def survey_networks(
    graph: ChannelGraph, probes: NetworkProbes, layers: LayerSurvey, *, settings: TimingSettings, networks: int
) -> Survey:
    """Measure whole networks, half of them drawn from the candidates that the layers gave.

    Raises:
        MeasurementError: too many of them cannot be run.
    """
    started = probes.clock()
    dense = layers.dense
    drawn = draw_networks(graph, layers.candidates, networks, probes.seed)
    probed = probes.time(
        drawn,
        seconds=_network_seconds(dense, networks, spent=layers.seconds),
        pace=_pace(dense),
        error=lambda times: held_out_error(graph, layers.lone, times, layers.dense_ns, seed=probes.seed),
    )
    return Survey(
        dense=dense.by(probed.statistic) if settings.statistic in SHARES else dense,
        staircases=layers.staircases,
        candidates=layers.candidates,
        lone=layers.lone,
        probed=probed,
        layer_probes=layers.layer_probes,
        layer_probes_found=layers.layer_probes_found,
        layer_statistic=layers.layer_statistic,
        seconds=layers.seconds + probes.clock() - started,
    )


def _expected(dense: DenseTime, layers: float, networks: int) -> str:
    """How long the profile may take, where lone layers take so many seconds and so many networks are not known."""
    minutes = (layers + _network_seconds(dense, networks, spent=layers) + _FITTING_SECONDS) / 60
    return f"dense {dense.interval.value / 1e6:.3f} ms; the profile takes up to {math.ceil(minutes)} min from here"


def _network_seconds(dense: DenseTime, networks: int, *, spent: float) -> float:
    """The most time that measuring so many whole networks may take, where so much was spent on lone layers."""
    each = max(_SECONDS_EACH, 2 * _pace(dense).seconds(USUAL_ROUNDS))
    return min(networks * each, _NETWORK_SECONDS, max(_FEWEST_SECONDS, _SECONDS - spent))


def _pace(dense: DenseTime) -> Pace:
    """How long narrowed networks may take, before the first has been timed."""
    one_round = _NARROWED * dense.interval.value / 1e9 + settings_named("quick").prime_seconds
    return Pace(prepare=dense.prepare + _BESIDE, one_round=one_round)


def _layer_seconds(dense: DenseTime) -> float:
    """Time for running lone layers."""
    base, per_second, most = _LAYER_SECONDS
    return min(base + per_second * dense.interval.value / 1e9, most)
