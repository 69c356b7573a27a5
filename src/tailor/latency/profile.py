"""What profiling found, as one record: the file profile.json, readable without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from tailor.latency.blended import Blend, BlendedLatency, latency_model
from tailor.latency.factored import FactoredLatency, FactoredTerms, FitError, LayerTerm
from tailor.latency.kernels import StepReason
from tailor.latency.staircase import Staircase
from tailor.latency.surface_model import SurfaceLatency, SurfaceLayer, SurfaceTerms
from tailor.records import Environment, Interval
from tailor.spec import Layer, LayerShape, Target

__all__ = ["LayerStaircase", "NetworkProbe", "Profile", "regrounded"]

Priced = TypeVar("Priced", SurfaceLayer, LayerTerm)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerStaircase:
    """Latency of one layer shape against the channels of one axis ("out" or "in"), the other axis at its dense size.

    `layers` names every layer of the network that has this shape; `shape` is the dense one; `why` gives a reason for
    each step, as far as the engine names its kernels.
    """

    layers: tuple[str, ...]
    axis: str
    shape: LayerShape
    staircase: Staircase
    why: tuple[StepReason, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkProbe:
    """One whole network that was measured for the latency model.

    `ns` is the paired ratio to the dense network times its latency, `noise` the relative standard error of it;
    `predicted_ns` is what a model fitted without this network (and its fold) said.
    """

    widths: Mapping[str, int]
    ns: int
    noise: float
    predicted_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How fast a network is on a target at any widths, what that rests on, and how wrong it is.

    `dense` is the dense network's latency in ns with its 95 % interval; `resolution` the relative difference that two
    copies of it showed; `candidates` the widths worth trying per group, ascending, the dense one last;
    `smallest_ns` the measured latency of the narrowest network that the candidates allow. There are two latency
    models, `surfaces` (from the engine's account of whole networks) and `terms` (from lone layers): whichever predicts
    unseen networks better alone, or both in the `blend` that does; `error` is that of what is kept. `instance_noise` is
    the relative standard deviation of one fresh instance of a network against another: rounds do not average it away.
    `statistic` says which of the samples latencies rest on (see tailor.timing.SHARES): what networks fit together by.
    `layer_statistic` the same of lone layers, by how well their sessions repeat.
    `host_noise` is the root mean square of what the host's state in a session added to the networks' ratios: models
    tell the latency in its mean state, and their error is without it.
    """

    target: Target
    environment: Environment
    protocol: str
    dense: Interval
    resolution: float
    staircases: tuple[LayerStaircase, ...]
    candidates: Mapping[str, tuple[int, ...]]
    networks: tuple[NetworkProbe, ...]
    terms: FactoredTerms | None
    surfaces: SurfaceTerms | None
    error: FitError
    instance_noise: float
    smallest_ns: int
    layer_probes: int
    layer_probes_found: int
    networks_found: int
    seconds: float
    blend: Blend | None = None
    statistic: str = "quiet"
    host_noise: float = 0.0
    layer_statistic: str = "quiet"

    @property
    def dense_ns(self) -> int:
        """Latency of the dense network."""
        return round(self.dense.value)

    @property
    def latency(self) -> FactoredLatency | SurfaceLatency | BlendedLatency:
        """The latency model: ask it with `predict(widths)`, and for a solver's terms with `factors(...)`.

        Raises:
            SchemaError: the profile holds no model.
        """
        return latency_model(self.surfaces, self.terms, self.blend)


def regrounded(profile: Profile, layers: Sequence[Layer]) -> Profile:
    """The profile with its layers standing where they do in another trace of the same network.

    A trace that knows removable branches says of a layer which branch it goes with; one that does not, does not.
    """
    known = {layer.name: layer for layer in layers}
    surfaces, terms = profile.surfaces, profile.terms
    if surfaces is not None:
        surfaces = replace(surfaces, layers=tuple(_placed(old, known.get(old.name)) for old in surfaces.layers))
    if terms is not None:
        terms = replace(terms, layers=tuple(_placed(old, known.get(old.name)) for old in terms.layers))
    return replace(profile, surfaces=surfaces, terms=terms)


def _placed(old: Priced, layer: Layer | None) -> Priced:
    return old if layer is None else replace(old, inputs=layer.inputs, outputs=layer.outputs)
