"""Conditions are differences of the kernel's counters, planted here as files; what is not there is None."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from tailor.engines import open_device
from tailor.engines.conditions import Counters, conditions_between, read_counters
from tailor.engines.subjects import network_subject
from tailor.records import TimingSettings
from tailor.spec import Target
from tailor.timing import Rounds

CORE = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
ROUNDS = Rounds(
    places={},
    samples={"a": (100, 100, 110, 110)}, stopped="rounds", failures={}, warmup_rounds=1, warmup_seconds=0.1,
    steady=True, retaken=2,
)  # fmt: skip


def planted(root: Path, *, steal: int, waited: int, throttled: int, khz: int) -> Counters:
    (root / "proc/pressure").mkdir(parents=True, exist_ok=True)
    rows = [f"cpu{core} 500 0 100 400 0 0 0 {steal} 0 0" for core in range(64)]
    (root / "proc/stat").write_text("\n".join(["cpu  9 9 9 9 9 9 9 9 9 9", *rows, "intr 5"]) + "\n")
    (root / "proc/pressure/cpu").write_text(f"some avg10=0.00 total={waited}\nfull avg10=0.00 total=0\n")
    (root / "sys/fs/cgroup").mkdir(parents=True, exist_ok=True)
    (root / "sys/fs/cgroup/cpu.stat").write_text(f"usage_usec 5\nnr_periods 9\nnr_throttled {throttled}\n")
    for core in range(64):
        folder = root / f"sys/devices/system/cpu/cpu{core}/cpufreq"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "scaling_cur_freq").write_text(f"{khz}\n")
    return read_counters(root)


def test_planted_counters_are_told_as_shares_of_the_session(tmp_path: Path) -> None:
    before = planted(tmp_path, steal=0, waited=1_000_000, throttled=3, khz=3_000_000)
    cores = (before.ticks or 0) // 1000
    after = planted(tmp_path, steal=250, waited=3_000_000, throttled=10, khz=1_500_000)
    assert cores == len(os.sched_getaffinity(0))
    found = conditions_between(
        Counters(at=10.0, ticks=before.ticks, stolen=before.stolen, waited_us=before.waited_us,
                 throttled=before.throttled, mhz=before.mhz),
        Counters(at=14.0, ticks=after.ticks, stolen=after.stolen, waited_us=after.waited_us,
                 throttled=after.throttled, mhz=after.mhz),
        ROUNDS,
    )  # fmt: skip
    assert found.steal == 1.0  # every tick that passed on our cores was stolen
    assert (found.seconds, found.pressure, found.throttled, found.mhz) == (4.0, 0.5, 7, (3000.0, 1500.0))
    assert (found.samples, found.retaken, found.steady) == (4, 2, True)
    assert found.drift == pytest.approx(0.1)


def test_the_older_control_groups_and_cpuinfo_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor: 0\ncpu MHz\t\t: 2000.5\n\nprocessor: 1\ncpu MHz\t\t: 3000.5\n")
    (tmp_path / "sys/fs/cgroup/cpu").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu/cpu.stat").write_text("nr_periods 0\nnr_throttled 4\n")
    found = read_counters(tmp_path)
    assert (found.mhz, found.throttled, found.ticks, found.waited_us) == (2500.5, 4, None, None)


def test_a_system_without_counters_tells_nothing(tmp_path: Path) -> None:
    nothing = read_counters(tmp_path)
    found = conditions_between(nothing, read_counters(tmp_path), ROUNDS)
    assert (found.steal, found.pressure, found.throttled, found.mhz) == (None, None, None, None)
    assert found.noisy()[0] == "the machine became 10% slower meanwhile"


def test_an_old_kernel_without_steal_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text(f"cpu{CORE} 500 0 100 400\n")
    assert read_counters(tmp_path).stolen is None


def test_every_measurement_of_a_session_carries_its_conditions() -> None:
    settings = TimingSettings(min_rounds=4, max_rounds=4, half_width=0.0, sample_seconds=0.0, warmup_seconds=0.0)
    good = network_subject("good", nn.Linear(8, 8), torch.zeros(1, 8), 1)
    bad = network_subject("bad", nn.Linear(3, 3), torch.zeros(1, 8), 1)
    ran, failed = open_device(Target()).measure([good, bad], settings)
    assert ran.conditions is not None
    assert ran.conditions == failed.conditions
    assert ran.conditions.samples == 4
