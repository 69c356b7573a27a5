"""Every method, from the same dense network, ends in a network that is measured near its budget or below."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_line import X, request

from tailor.console import SilentReporter
from tailor.errors import InvalidOptionError
from tailor.latency.profile import Profile
from tailor.methods import METHODS
from tailor.pipeline import prune
from tailor.records import Budget
from tailor.serialize import read_record
from tailor.spec import Widths

POPULATIONS = {"lacp", "random", "eagleeye", "metapruning-evolution", "abcpruner", "bayesian"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder, so that all runs share their measurements."""
    return tmp_path_factory.mktemp("methods")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_reaches_the_budget(name: str, place: Path) -> None:
    sizes = {"cycles": 2, "population": 4} if name in POPULATIONS else {"cycles": None, "population": None}
    asked = request(place / name, method=name, budget=Budget.parse("70%"), **sizes)
    result = prune(asked, console=SilentReporter())
    profile = read_record(result.out / "profile.json", Profile)
    assert profile.latency.predict(Widths(result.widths)).ns <= 0.7 * profile.dense_ns
    assert result.verdict.ratio.low <= 0.72  # measured: the tail of a noisy host's interval
    assert result.verdict.equivalent
    assert result.reductions.macs[1] < result.reductions.macs[0]


def test_pruning_while_training_resumes_from_its_masked_network(place: Path) -> None:
    run = place / "halp"
    (run / "keep.json").unlink()
    (run / "stages.json").unlink()
    before = (run / "gradual.json").read_bytes()
    again = prune(request(run, method="halp", budget=Budget.parse("70%"), cycles=None, population=None, resume=True),
                  console=SilentReporter())
    assert (run / "gradual.json").read_bytes() == before
    assert again.verdict.equivalent
    again.model(X)


def test_a_search_without_populations_refuses_to_be_resized(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="uniform has neither cycles nor a population"):
        prune(request(tmp_path / "run", method="uniform"), console=SilentReporter())


def test_pruning_while_training_needs_gradients(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="its importance must be bn-taylor"):
        prune(request(tmp_path / "run", method="halp", importance="l1", cycles=None, population=None),
              console=SilentReporter())
