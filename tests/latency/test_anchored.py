"""An anchored model is another one times a factor, in every part that search and solvers ask for."""

from __future__ import annotations

import pytest
from planted_accounts import GRAPH, fitted_surfaces

from tailor.latency.anchored import AnchoredLatency
from tailor.latency.frozen import frozen_factors
from tailor.latency.surface_model import SurfaceLatency

CANDIDATES = {g.name: tuple(range(16, g.width + 1, 16)) for g in GRAPH.groups}


@pytest.mark.parametrize("factor", [1.0, 0.9, 1.3])
def test_everything_that_is_asked_is_multiplied(factor: float) -> None:
    unanchored, widths = SurfaceLatency(fitted_surfaces()), GRAPH.dense_widths
    anchored = AnchoredLatency(unanchored, factor)
    found, plain = anchored.predict(widths), unanchored.predict(widths)
    for own, other in ((found.ns, plain.ns), (found.low_ns, plain.low_ns), (found.high_ns, plain.high_ns)):
        assert own == pytest.approx(factor * other, abs=1)
    assert found.source == plain.source
    factors = anchored.factors(CANDIDATES, widths)
    assert factors.total_ns(widths) == pytest.approx(found.ns, abs=len(factors.terms) + 2)
    frozen = frozen_factors(anchored, CANDIDATES, widths)
    assert frozen.total_ns(widths) == pytest.approx(found.ns, abs=len(frozen.terms) + 2)
    assert anchored.factor == factor
