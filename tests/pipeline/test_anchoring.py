"""Before a search, predictions are put right where it will look: a planted error is found, once, and remembered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from test_line import request

from tailor.console import SilentReporter
from tailor.latency.profile import Profile
from tailor.pipeline.anchoring import anchored
from tailor.pipeline.begin import begin
from tailor.pipeline.request import Line
from tailor.pipeline.searching import profiled_on
from tailor.records import Anchor, Interval
from tailor.search import SearchSpace, UniformConfig
from tailor.spec import Widths


class PlantedTimer:
    """A machine on which every structure takes so much longer than predicted, and one of them far longer."""

    def __init__(self, profiled: Profile, error: float, spike: float = 1.0) -> None:
        self.profiled, self.error, self.spike = profiled, error, spike
        self.asked: list[list[Widths]] = []

    def ratios(self, structures: Sequence[Widths]) -> list[Interval]:
        self.asked.append(list(structures))
        predicted = [self.profiled.latency.predict(widths).ns / self.profiled.dense_ns for widths in structures]
        values = [self.error * share for share in predicted]
        values[0] *= self.spike
        return [Interval(value=value, low=0.99 * value, high=1.01 * value) for value in values]


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return profiled_on(begin(request(tmp_path_factory.mktemp("anchoring") / "profile"), SilentReporter()))


def line_of(place: Path, name: str) -> Line:
    sizes = {} if name == "lacp" else {"cycles": None, "population": None}
    return begin(request(place, method=name, **sizes), SilentReporter())


def every_second(line: Line) -> dict[str, tuple[int, ...]]:
    """Candidates that no measurement decides."""
    return {g.name: (g.width,) if g.pinned else tuple(range(4, g.width + 1, 2)) for g in line.graph.groups}


@pytest.mark.parametrize("error", [0.9, 1.0, 1.2])
@pytest.mark.parametrize("name", ["lacp", "uniform", "sp-lamp", "netadapt"])
def test_a_planted_error_is_found_at_the_limit(name: str, error: float, tmp_path: Path, profiled: Profile) -> None:
    line, timer = line_of(tmp_path / "run", name), PlantedTimer(profiled, error)
    candidates = every_second(line)
    limit = round(0.7 * profiled.dense_ns)
    found = anchored(line, profiled, timer, candidates, limit)  # type: ignore[arg-type]
    assert found.factor == pytest.approx(error, rel=1e-6)
    assert len(timer.asked) == 1
    for widths in timer.asked[0]:
        assert 0.3 * limit < profiled.latency.predict(widths).ns <= limit
    anchor = line.folder.stored("anchor", Anchor)
    assert anchor is not None
    assert anchor.spread == pytest.approx(0, abs=1e-6)
    anchored(line, profiled, timer, candidates, limit)  # type: ignore[arg-type]
    assert len(timer.asked) == 1  # what is in the folder is not measured again


def test_one_structure_of_its_own_does_not_decide(tmp_path: Path, profiled: Profile) -> None:
    line, timer = line_of(tmp_path / "run", "lacp"), PlantedTimer(profiled, 1.1, spike=1.5)
    candidates = every_second(line)
    found = anchored(line, profiled, timer, candidates, round(0.7 * profiled.dense_ns))  # type: ignore[arg-type]
    assert found.factor == pytest.approx(1.1, rel=1e-6)


def test_a_method_that_computes_its_answer_is_held_against_its_own(tmp_path: Path, profiled: Profile) -> None:
    line, timer = line_of(tmp_path / "run", "uniform"), PlantedTimer(profiled, 1.0)
    line = replace(line, method=replace(line.method, search=UniformConfig(structures=2, step=0.2)))
    candidates = every_second(line)
    anchored(line, profiled, timer, candidates, round(0.7 * profiled.dense_ns))  # type: ignore[arg-type]
    free = [group for group, own in candidates.items() if len(own) > 1]
    shares = [{widths[group] / candidates[group][-1] for group in free} for widths in timer.asked[0]]
    assert len(timer.asked[0]) == 2
    assert all(max(each) - min(each) < 0.1 for each in shares)


def test_where_the_narrowest_is_over_the_limit_by_prediction_it_alone_is_measured(
    tmp_path: Path, profiled: Profile
) -> None:
    line, timer = line_of(tmp_path / "run", "lacp"), PlantedTimer(profiled, 0.8)
    candidates = every_second(line)
    found = anchored(line, profiled, timer, candidates, 1)  # type: ignore[arg-type]
    assert timer.asked == [[SearchSpace(candidates, profiled.latency, 1).narrowest]]
    assert found.factor == pytest.approx(0.8, rel=1e-6)
