"""Watches the machine during a timing session: stolen time, waiting for cores, a processor quota, clocks.

Every number is a difference of the kernel's own counters; what this system does not count is None.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tailor.records import Conditions
from tailor.timing import Rounds, drift_of

__all__ = ["Counters", "conditions_between", "read_counters"]

_STEAL = 7  # its place in a line of /proc/stat (proc(5)): user nice system idle iowait irq softirq steal


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """The machine's counters at one moment; None where there is no such counter.

    `ticks` and `stolen` are clock ticks of the cores this process may use, `waited_us` microseconds in which some task
    waited for a core, `throttled` periods in which the quota was used up, `mhz` the mean clock of those cores.
    """

    at: float
    ticks: int | None
    stolen: int | None
    waited_us: int | None
    throttled: int | None
    mhz: float | None


def read_counters(root: Path = Path("/")) -> Counters:
    """Read the counters now; `root` is where the system's own folders hang."""
    cores = _own_cores()
    ticks, stolen = _processor_ticks(root / "proc/stat", cores)
    return Counters(
        at=time.perf_counter(),
        ticks=ticks,
        stolen=stolen,
        waited_us=_waited(root),
        throttled=_throttled(root / "sys/fs/cgroup"),
        mhz=_mean_clock(root, cores),
    )


def conditions_between(before: Counters, after: Counters, rounds: Rounds) -> Conditions:
    """What happened between two readings, with what the timing itself noticed."""
    elapsed = max(after.at - before.at, 1e-9)
    ticks, stolen = _difference(before.ticks, after.ticks), _difference(before.stolen, after.stolen)
    waited = _difference(before.waited_us, after.waited_us)
    return Conditions(
        seconds=elapsed,
        steady=rounds.steady,
        drift=drift_of(rounds.samples),
        samples=sum(len(values) for values in rounds.samples.values()),
        retaken=rounds.retaken,
        steal=stolen / ticks if ticks and stolen is not None else None,
        pressure=None if waited is None else min(1.0, waited / 1e6 / elapsed),
        throttled=_difference(before.throttled, after.throttled),
        mhz=None if before.mhz is None or after.mhz is None else (before.mhz, after.mhz),
    )


def _difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else max(0, after - before)


def _own_cores() -> frozenset[int]:
    """The cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _processor_ticks(path: Path, cores: Iterable[int]) -> tuple[int | None, int | None]:
    """All ticks of these cores, and those that the hypervisor took."""
    names = {f"cpu{core}" for core in cores}
    rows = [line.split() for line in _lines(path)]
    times = [[int(word) for word in row[1 : _STEAL + 2]] for row in rows if row and row[0] in names]
    if not times or any(len(row) <= _STEAL for row in times):
        return None, None
    return sum(map(sum, times)), sum(row[_STEAL] for row in times)


def _waited(root: Path) -> int | None:
    """Microseconds that some task waited for a core: the container's where it is told, else the machine's."""
    for path in (root / "sys/fs/cgroup/cpu.pressure", root / "proc/pressure/cpu"):
        for line in _lines(path):
            if line.startswith("some") and "total=" in line:
                return int(line.rpartition("total=")[2])
    return None


def _throttled(folder: Path) -> int | None:
    """Periods in which the control group's quota was used up (cpu.stat of cgroup v2, then of v1)."""
    for path in (folder / "cpu.stat", folder / "cpu/cpu.stat", folder / "cpu,cpuacct/cpu.stat"):
        for line in _lines(path):
            name, _, value = line.partition(" ")
            if name == "nr_throttled":
                return int(value)
    return None


def _mean_clock(root: Path, cores: Iterable[int]) -> float | None:
    """Megahertz as the frequency driver tells them, else as /proc/cpuinfo does."""
    files = [root / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq" for core in cores]
    clocks = [int(text[0]) / 1000 for text in map(_lines, files) if text and text[0].isdecimal()]
    if not clocks:
        rows = [line for line in _lines(root / "proc/cpuinfo") if line.startswith("cpu MHz")]
        clocks = [float(row.partition(":")[2]) for row in rows]
    return sum(clocks) / len(clocks) if clocks else None


def _lines(path: Path) -> list[str]:
    """The lines of a kernel file, none where it is missing or may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
