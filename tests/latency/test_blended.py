"""A blend is the weighted mean of its models in every part, and its share is where held-out errors are least."""

from __future__ import annotations

import functools
import random

import numpy as np
import pytest
from planted import lone_of
from planted_accounts import GRAPH, accounted, accounted_truth, concatenated, fitted_surfaces

from tailor.errors import SchemaError
from tailor.latency.bands import ErrorBand
from tailor.latency.blended import Blend, BlendedLatency, best_blend, latency_model
from tailor.latency.factored import FactoredLatency, FactoredTerms
from tailor.latency.fitting import fit_factored
from tailor.latency.surface_model import SurfaceLatency
from tailor.serialize import decode, encode
from tailor.spec import Widths

CANDIDATES = {g.name: tuple(range(16, g.width + 1, 16)) for g in GRAPH.groups}
DENSE_NS = round(accounted_truth(GRAPH, GRAPH.dense_widths))
BANDS = (ErrorBand(ns=50_000, q90=0.2), ErrorBand(ns=10**12, q90=0.05))


@functools.cache
def factored() -> FactoredTerms:
    """The factored model of the same networks."""
    return fit_factored(
        GRAPH.layers, lone_of(GRAPH), [(n.widths, n.ns, n.noise) for n in accounted()], dense=GRAPH.dense_widths,
        dense_ns=DENSE_NS,
    ).terms


def drawn(count: int) -> list[Widths]:
    draw = random.Random(0)
    return [Widths({group: draw.choice(widths) for group, widths in CANDIDATES.items()}) for _ in range(count)]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_predictions_terms_and_layers_are_the_weighted_means(share: float) -> None:
    both = BlendedLatency(fitted_surfaces(), factored(), Blend(share=share, bands=BANDS))
    first, second = SurfaceLatency(fitted_surfaces()), FactoredLatency(factored())
    for widths in drawn(10):
        found = both.predict(widths)
        assert found.ns == pytest.approx(
            share * first.predict(widths).ns + (1 - share) * second.predict(widths).ns, abs=1
        )
        assert found.high_ns == pytest.approx(found.ns * (1.2 if found.ns <= 50_000 else 1.05), abs=2)
        factors = both.factors(CANDIDATES, widths)
        assert factors.total_ns(widths) == pytest.approx(found.ns, abs=len(factors.terms) + 2)
    alone = first if share == 1 else second
    if share in (0.0, 1.0):
        assert both.constant_ns == alone.constant_ns
        assert both.layer_ns(1, 16, 32, GRAPH.dense_widths) == alone.layer_ns(1, 16, 32, GRAPH.dense_widths)


def test_what_one_model_extrapolates_is_extrapolated() -> None:
    both = BlendedLatency(fitted_surfaces(), factored(), Blend(share=0.5, bands=BANDS))
    assert both.predict(GRAPH.dense_widths).source == "fitted"
    assert both.predict(Widths(dict.fromkeys(CANDIDATES, 1))).source == "extrapolated"


def test_errors_that_have_nothing_to_do_with_each_other_are_halved_and_shared_ones_left() -> None:
    draw, ns = np.random.default_rng(0), np.linspace(1e6, 5e6, 300)
    noise = [ns * (1 + 0.03 * draw.standard_normal(300)) for _ in range(3)]
    blend, mean = best_blend(noise[0], noise[1], ns)
    assert 0.3 <= blend.share <= 0.7
    np.testing.assert_allclose(mean, blend.share * noise[0] + (1 - blend.share) * noise[1])
    assert np.mean(np.abs(mean / ns - 1)) < 0.8 * np.mean(np.abs(noise[0] / ns - 1))
    assert [band.q90 for band in blend.bands] == pytest.approx([0.035] * 3, abs=0.01)
    assert best_blend(ns, noise[2], ns)[0].share == 1.0
    assert best_blend(noise[2], ns, ns)[0].share == 0.0


def test_a_blend_is_stored_and_needs_two_models_of_the_same_layers() -> None:
    blend = Blend(share=0.4, bands=BANDS)
    assert decode(encode(blend), Blend) == blend
    assert isinstance(latency_model(fitted_surfaces(), factored(), blend), BlendedLatency)
    assert isinstance(latency_model(fitted_surfaces(), None, None), SurfaceLatency)
    assert isinstance(latency_model(None, factored(), None), FactoredLatency)
    for missing in ((None, None, None), (fitted_surfaces(), factored(), None)):
        with pytest.raises(SchemaError, match="no latency model"):
            latency_model(*missing)
    joined = concatenated()
    other = fit_factored(
        joined.layers, lone_of(joined), [(n.widths, n.ns, n.noise) for n in accounted(joined)],
        dense=joined.dense_widths, dense_ns=DENSE_NS,
    ).terms
    with pytest.raises(SchemaError, match="different layers"):
        BlendedLatency(fitted_surfaces(), other, blend)
