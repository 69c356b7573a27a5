"""What this machine is: read from files where they are, None where they are not."""

from __future__ import annotations

from pathlib import Path

import torch

from tailor.measuring.machine import machine_here, quota_of, spinning_settings


def test_only_settings_that_spin_for_long_are_told() -> None:
    assert spinning_settings({"OMP_WAIT_POLICY": "ACTIVE", "KMP_BLOCKTIME": "200", "OTHER": "active"}) == (
        "OMP_WAIT_POLICY=ACTIVE",
    )
    assert spinning_settings({"KMP_BLOCKTIME": "infinite"}) == ("KMP_BLOCKTIME=infinite",)
    assert spinning_settings({"OMP_WAIT_POLICY": "passive"}) == spinning_settings({}) == ()


def test_a_container_s_quota_is_read_in_cores(tmp_path: Path) -> None:
    assert quota_of(tmp_path) is None
    old = tmp_path / "cpu"
    old.mkdir()
    (old / "cpu.cfs_quota_us").write_text("50000\n")
    (old / "cpu.cfs_period_us").write_text("100000\n")
    assert quota_of(tmp_path) == 0.5
    (old / "cpu.cfs_quota_us").write_text("-1\n")
    assert quota_of(tmp_path) is None
    (tmp_path / "cpu.max").write_text("250000 100000\n")
    assert quota_of(tmp_path) == 2.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert quota_of(tmp_path) is None


def test_flushing_of_denormals_is_told_as_it_stands() -> None:
    assert not machine_here().flushes_denormals
    if not torch.set_flush_denormal(True):
        return
    try:
        assert machine_here().flushes_denormals
    finally:
        torch.set_flush_denormal(False)


def test_the_machine_tells_its_memory_and_cores() -> None:
    machine = machine_here()
    assert 0 < machine.memory_available <= machine.memory_total
    assert int(machine.host["cores"]) >= 1
