"""A search aims below the budget by what copies differ by and by what the host's state adds, and says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from planted_machine import PASSED, line_of

from tailor.console import SilentReporter
from tailor.latency.profile import Profile
from tailor.pipeline import finishing
from tailor.pipeline.aim import LARGEST_COPIES, LARGEST_STATE, aim_below, margin
from tailor.pipeline.profiled import as_profiled
from tailor.records import Verdict
from tailor.verify import VerifyJob


class Said(SilentReporter):
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        """Kept."""
        self.lines.append(line)


def test_on_a_quiet_host_only_what_copies_differ_by_is_left_off_and_nothing_is_said(
    tmp_path: Path, profiled: Profile
) -> None:
    said = Said()
    line = replace(line_of(tmp_path / "run", "lacp"), console=said)
    assert aim_below(1_000_000, line, replace(profiled, resolution=0.005, host_noise=0.0)) == 995_000
    assert said.lines == []


def test_what_the_host_s_state_costs_is_left_off_too_and_told(tmp_path: Path, profiled: Profile) -> None:
    said = Said()
    line = replace(line_of(tmp_path / "run", "lacp"), console=said)
    assert aim_below(1_000_000, line, replace(profiled, resolution=0.01, host_noise=0.02)) == 948_400
    (told,) = said.lines
    assert "moves ratios by 2.0% from session to session" in told
    assert "aims 5.2% below it" in told


def test_a_host_that_is_never_quiet_does_not_take_the_whole_budget() -> None:
    assert margin(0.5, 0.5) == LARGEST_COPIES + LARGEST_STATE


def test_the_fresh_process_is_told_of_the_host_s_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profiled: Profile
) -> None:
    jobs: list[VerifyJob] = []

    def verified(job: VerifyJob) -> Verdict:
        jobs.append(job)
        return PASSED

    monkeypatch.setattr(finishing, "verify", verified)
    line = as_profiled(line_of(tmp_path / "run", "lacp"), replace(profiled, host_noise=0.03))
    finishing.judge(line, line.request.model, tmp_path, data=None)
    assert [job.host_noise for job in jobs] == [0.03]
