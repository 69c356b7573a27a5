"""Random with acceptance keeps the laws of a strategy and stays just below the limit."""

from __future__ import annotations

import pytest
from strategy_suite import StrategySuite, problem_of

from tailor.errors import InvalidOptionError
from tailor.search import Acceptance, AcceptanceConfig, SearchSpace, run_search


class TestAcceptance(StrategySuite):
    def make(self, space: SearchSpace, *, seed: int) -> Acceptance:
        return Acceptance(space, AcceptanceConfig(structures=40, batch=10, window=0.05), seed=seed)


@pytest.mark.parametrize("share", [0.8, 0.5, 0.3])
def test_accepted_structures_lie_in_the_window_and_fitted_ones_cannot_be_widened(share: float) -> None:
    problem = problem_of(share=share)
    result = run_search(problem, Acceptance(problem.space(), AcceptanceConfig(structures=60, window=0.02), seed=1))
    origins = {trial.origin for trial in result.trials}
    assert "accepted" in origins
    for trial in result.trials:
        if trial.origin == "accepted":
            assert 0.98 * problem.limit_ns <= trial.latency.ns <= problem.limit_ns
        if trial.origin == "fitted":
            for group, steps in problem.candidates.items():
                wider = [width for width in steps if width > trial.widths[group]]
                if wider:
                    assert problem.latency.predict(trial.widths.but({group: wider[0]})).ns > problem.limit_ns


@pytest.mark.parametrize("changes", [{"structures": 0}, {"batch": 0}, {"window": 0.0}, {"window": 1.0}])
def test_a_config_without_meaning_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(InvalidOptionError, match="must be"):
        AcceptanceConfig(**changes)
