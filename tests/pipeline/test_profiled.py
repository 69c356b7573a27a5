"""What repeated in the profile is what candidates and verdicts are timed by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from planted_machine import line_of

from tailor.latency.profile import Profile
from tailor.pipeline.profiled import as_profiled
from tailor.timing import settings_named


def test_candidates_and_verdicts_are_timed_by_what_repeated_in_the_profile(tmp_path: Path, profiled: Profile) -> None:
    line = line_of(tmp_path / "run", "uniform")
    usual = replace(profiled, statistic="usual")
    assert as_profiled(line, profiled).settings is line.settings
    assert as_profiled(line, replace(profiled, host_noise=0.03)).host_noise == 0.03
    assert as_profiled(line, usual).settings == replace(line.settings, statistic="usual")
    paper = replace(line, settings=settings_named("lacp"))
    assert as_profiled(paper, usual).settings is paper.settings  # the protocol prescribes the mean
