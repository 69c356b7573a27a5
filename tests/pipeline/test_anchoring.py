"""Predictions are put right where a search looks: by a planted error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from planted_machine import PlantedTimer, every_second, line_of, task_of

from tailor.latency.profile import Profile
from tailor.pipeline.anchoring import anchored
from tailor.records import Anchor
from tailor.search import SearchSpace, UniformConfig


@pytest.mark.parametrize("error", [0.9, 1.0, 1.2])
@pytest.mark.parametrize("name", ["lacp", "uniform", "sp-lamp", "netadapt"])
def test_a_planted_error_is_found_at_the_limit(name: str, error: float, tmp_path: Path, profiled: Profile) -> None:
    line, timer = line_of(tmp_path / "run", name), PlantedTimer(profiled, error)
    candidates = every_second(line)
    limit = round(0.7 * profiled.dense_ns)
    found = anchored(task_of(line, profiled, timer, candidates, limit))
    assert found.factor == pytest.approx(error, rel=1e-6)
    rounds = len(timer.asked)
    assert rounds <= (2 if error != 1.0 else 1)  # the second finds nothing more to correct
    for widths in timer.asked[0]:
        assert 0.3 * limit < profiled.latency.predict(widths).ns <= limit
    anchor = line.folder.stored("anchor", Anchor)
    assert anchor is not None
    assert anchor.spread == pytest.approx(0, abs=1e-6)
    anchored(task_of(line, profiled, timer, candidates, limit))
    assert len(timer.asked) == rounds  # what is in the folder is not measured again


@pytest.mark.parametrize("name", ["lacp", "uniform", "sp-lamp"])
@pytest.mark.parametrize("slope", [1.0, -0.4])
def test_an_error_that_grows_with_the_network_is_found_where_the_corrected_limit_is(
    slope: float, name: str, tmp_path: Path, profiled: Profile
) -> None:
    line, timer = line_of(tmp_path / "run", name), PlantedTimer(profiled, 0.9, slope=slope)
    limit = round(0.7 * profiled.dense_ns)
    found = anchored(task_of(line, profiled, timer, every_second(line), limit))
    share = next(each / 10_000 for each in range(10_000) if timer.true(each / 10_000) >= 0.7)  # as planted
    assert found.factor == pytest.approx(0.7 / share, rel=0.02)


def test_one_structure_of_its_own_does_not_decide(tmp_path: Path, profiled: Profile) -> None:
    line, timer = line_of(tmp_path / "run", "lacp"), PlantedTimer(profiled, 1.1, spike=1.5)
    candidates = every_second(line)
    found = anchored(task_of(line, profiled, timer, candidates, round(0.7 * profiled.dense_ns)))
    assert found.factor == pytest.approx(1.1, rel=1e-6)


@pytest.mark.parametrize(("error", "scatter", "rounds"), [(1.02, 0.04, 1), (1.02, 0.0, 2), (1.1, 0.04, 2)])
def test_a_correction_within_its_own_error_is_not_followed(
    error: float, scatter: float, rounds: int, tmp_path: Path, profiled: Profile
) -> None:
    line, timer = line_of(tmp_path / "run", "lacp"), PlantedTimer(profiled, error, scatter=scatter)
    found = anchored(task_of(line, profiled, timer, every_second(line), round(0.7 * profiled.dense_ns)))
    assert len(timer.asked[0]) == 4
    assert len(timer.asked) == rounds  # 4 % either way leaves the median of four known to 3.7 %
    assert found.factor == pytest.approx(error, rel=1e-3)


def test_a_method_that_computes_its_answer_is_held_against_its_own(tmp_path: Path, profiled: Profile) -> None:
    line, timer = line_of(tmp_path / "run", "uniform"), PlantedTimer(profiled, 1.0)
    line = replace(line, method=replace(line.method, search=UniformConfig(structures=2, step=0.2)))
    candidates = every_second(line)
    anchored(task_of(line, profiled, timer, candidates, round(0.7 * profiled.dense_ns)))
    free = [group for group, own in candidates.items() if len(own) > 1]
    shares = [{widths[group] / candidates[group][-1] for group in free} for widths in timer.asked[0]]
    assert len(timer.asked) == 1
    assert len(timer.asked[0]) == 2
    assert all(max(each) - min(each) < 0.1 for each in shares)


def test_where_the_narrowest_is_over_the_limit_by_prediction_it_alone_is_measured(
    tmp_path: Path, profiled: Profile
) -> None:
    line, timer = line_of(tmp_path / "run", "lacp"), PlantedTimer(profiled, 0.8)
    candidates = every_second(line)
    found = anchored(task_of(line, profiled, timer, candidates, 1))
    assert timer.asked == [[SearchSpace(candidates, profiled.latency, 1).narrowest]]
    assert found.factor == pytest.approx(0.8, rel=1e-6)
