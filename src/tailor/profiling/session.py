"""`profile`: survey the network on its target, fit a latency model, and read off it which widths are worth trying."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from tailor.database import Database
from tailor.engines import open_device
from tailor.latency.candidates import modelled_candidates
from tailor.latency.profile import Profile
from tailor.profiling.choice import require_choice
from tailor.profiling.fitting import fit_latency
from tailor.profiling.layers import Progress
from tailor.profiling.networks import NetworkTimer
from tailor.profiling.probes import NetworkProbes
from tailor.profiling.survey import Survey, survey_layers, survey_networks
from tailor.records import TimingSettings
from tailor.spec import ChannelGraph, Target, Widths
from tailor.timing import settings_named

__all__ = ["conclude", "open_probes", "profile"]


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
    with the dense latency allows (about two minutes where a call takes milliseconds, at most about ten). What the
    database knows is not timed again. `progress` is told (stage, done, total), `tell` how long it may take once the
    dense network has been timed. The model is left as found.

    Raises:
        NothingToPruneError: no layer of the network gains anything from narrower groups; says why.
        MeasurementError: the dense network, or too many of the probes, cannot be run.
    """
    settings = settings or settings_named("default", seed=seed)
    probes = open_probes(model, graph, example_inputs, target, database=database, seed=seed, progress=progress)
    tell = tell or _say_to_nobody
    layers = survey_layers(graph, probes, target, settings=settings, networks=networks, tell=tell)
    surveyed = survey_networks(graph, probes, layers, settings=settings, networks=networks)
    return conclude(graph, surveyed, probes, target, protocol=settings.name)


def open_probes(
    model: nn.Module,
    graph: ChannelGraph,
    example_inputs: Any,
    target: Target,
    *,
    database: Database,
    seed: int = 0,
    progress: Progress | None = None,
) -> NetworkProbes:
    """What times the network's narrowed versions on the target and keeps the results in the database."""
    device = open_device(target)
    timer = NetworkTimer(
        model=model, graph=graph, example_inputs=example_inputs, batch_size=target.batch_size, device=device
    )
    return NetworkProbes(
        timer=timer, environment=device.environment(), database=database, seed=seed, progress=progress or _say_nothing
    )


def conclude(
    graph: ChannelGraph, surveyed: Survey, probes: NetworkProbes, target: Target, *, protocol: str
) -> Profile:
    """Fit the latency models, and measure the narrowest network that is worth trying by what they say together.

    Raises:
        NothingToPruneError: no layer of the network gains anything from narrower groups; says why.
        MeasurementError: the narrowest network cannot be run.
    """
    started = probes.clock()
    dense = surveyed.dense
    probes.progress("latency model", 0, 1)
    fit = fit_latency(
        graph, surveyed.lone, surveyed.probed, surveyed.dense_ns, batch_size=target.batch_size, seed=probes.seed
    )
    probes.progress("latency model", 1, 1)
    candidates = surveyed.candidates
    if fit.surfaces is not None:
        candidates = modelled_candidates(graph, fit.latency, fit.surfaces.narrowest, dense.resolution)
        require_choice(graph, candidates, dense.resolution, target)
    smallest = probes.learn([_narrowest(graph, candidates)], surveyed.probed)[0]
    return Profile(
        target=target,
        environment=probes.environment,
        protocol=protocol,
        dense=dense.interval,
        resolution=dense.resolution,
        statistic=surveyed.probed.statistic,
        staircases=surveyed.staircases,
        candidates=candidates,
        networks=fit.networks,
        terms=fit.terms,
        surfaces=fit.surfaces,
        blend=fit.blend,
        error=fit.error,
        instance_noise=surveyed.probed.instance_noise,
        host_noise=fit.host_noise,
        smallest_ns=round(smallest.ratio * dense.interval.value),
        layer_probes=surveyed.layer_probes,
        layer_probes_found=surveyed.layer_probes_found,
        layer_statistic=surveyed.layer_statistic,
        networks_found=surveyed.probed.found,
        seconds=surveyed.seconds + probes.clock() - started,
    )


def _narrowest(graph: ChannelGraph, candidates: Mapping[str, tuple[int, ...]]) -> Widths:
    """Every group at its smallest candidate, and without the branches that can go."""
    gone = {group: 0 for branch in graph.removable for group in branch.groups}
    return Widths({group: widths[0] for group, widths in candidates.items()} | gone)


def _say_to_nobody(line: str) -> None:
    """Nobody asked to be told."""


def _say_nothing(stage: str, done: int, total: int) -> None:
    """Nobody asked to be told."""
