"""Counts a GPU kernel's waves, and fits how much of an unfinished wave must be paid: the tail effect in numbers.

A grid of thread blocks runs in waves of `slots` = resident blocks per SM x SMs. A kernel whose blocks all take the same
time pays for whole waves; stream-K and persistent kernels share the last wave out and pay in proportion:
t = launch + wave_ns * [a * waves + (1 - a) * ceil(waves)], a between 0 (stairs) and 1 (a line).
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize

from tailor.errors import MeasurementError

__all__ = ["Gpu", "KernelLaunch", "WaveCount", "WaveFit", "family_of", "fit_waves", "resident_blocks", "wave_count"]

_WARP = 32
_REGISTER_UNIT = 256  # registers are given to warps in units of so many
_WARP_SCHEDULERS = 4
_SHARED_UNIT = 128  # bytes
_SHARED_RESERVED = 1024  # bytes per block that the system keeps from compute capability 8 on
# Most resident blocks per SM by compute capability (CUDA C++ Programming Guide, technical specifications).
_MOST_BLOCKS: Mapping[tuple[int, int], int] = {(7, 5): 16, (8, 6): 16, (8, 7): 16, (8, 9): 24}
_MOST_BLOCKS_ELSE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """What limits how many blocks are resident: per streaming multiprocessor (SM) unless named otherwise."""

    name: str
    capability: tuple[int, int]
    processors: int
    threads: int
    registers: int
    shared_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelLaunch:
    """One launch as the profiler saw it; `occupancy` (0 to 1) is None where it reported 0, which means unknown."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    registers: int
    shared_bytes: int
    ns: int
    occupancy: float | None = None

    @property
    def blocks(self) -> int:
        """Thread blocks of the grid: the tiles that the kernel cuts its work into."""
        return math.prod(self.grid)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveCount:
    """A launch in waves: `tail_efficiency` is the share of the slots paid for that did work."""

    blocks: int
    resident: int
    slots: int
    waves: float
    tail_efficiency: float

    @property
    def cheaper_blocks(self) -> int | None:
        """The most blocks that would save a whole wave; None where the grid fits into one."""
        whole = (math.ceil(self.waves) - 1) * self.slots
        return whole or None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveFit:
    """The wave model of one kernel family: ns of the launch and per wave, `a`, and its relative error.

    `steps` pairs the measured with the predicted ratio of neighbouring launches that differ in whole waves.
    """

    family: str
    launch_ns: float
    wave_ns: float
    a: float
    error: float
    launches: int
    steps: tuple[tuple[float, float], ...]

    def predict(self, waves: float) -> float:
        """Nanoseconds of a launch of so many waves."""
        return self.launch_ns + self.wave_ns * (self.a * waves + (1 - self.a) * math.ceil(waves))


def resident_blocks(launch: KernelLaunch, gpu: Gpu) -> int:
    """Blocks of this kernel that one SM holds at once, from its threads, registers and shared memory.

    The profiler reports occupancy 0 for kernels with more than 48 KB of shared memory, most tensor-core convolutions
    among them, so it is computed here for all (CUDA occupancy calculator).

    Raises:
        MeasurementError: the block does not fit on an SM at all, so the numbers contradict each other.
    """
    warps = -(-math.prod(launch.block) // _WARP)
    limits = [gpu.threads // _WARP // warps, _MOST_BLOCKS.get(gpu.capability, _MOST_BLOCKS_ELSE)]
    if launch.registers:
        per_warp = -(-launch.registers * _WARP // _REGISTER_UNIT) * _REGISTER_UNIT
        limits.append(gpu.registers // _WARP_SCHEDULERS // per_warp * _WARP_SCHEDULERS // warps)
    reserved = _SHARED_RESERVED if gpu.capability >= (8, 0) else 0
    if shared := -(-(launch.shared_bytes + reserved) // _SHARED_UNIT) * _SHARED_UNIT:
        limits.append(gpu.shared_bytes // shared)
    if min(limits) < 1:
        raise MeasurementError(f"a block of {launch.kernel} does not fit on an SM of {gpu.name}", value=launch)
    return min(limits)


def wave_count(launch: KernelLaunch, gpu: Gpu) -> WaveCount:
    """How many waves the grid takes, and what share of the last one is used."""
    resident = resident_blocks(launch, gpu)
    slots = resident * gpu.processors
    waves = launch.blocks / slots
    return WaveCount(
        blocks=launch.blocks, resident=resident, slots=slots, waves=waves, tail_efficiency=waves / math.ceil(waves)
    )


def fit_waves(family: str, samples: Sequence[tuple[float, int]]) -> WaveFit | None:
    """The wave model through (waves, ns) samples of one kernel family with the same work per block; None where the
    samples cannot tell: fewer than four distinct wave counts, or all within one wave.

    Non-negative least squares on relative error over launch time, waves and whole waves.
    """
    ordered = sorted(samples)
    distinct = {round(waves, 6) for waves, _ in ordered}
    if len(distinct) < 4 or math.ceil(ordered[-1][0]) < 2:
        return None
    waves, ns = (np.array(column, dtype=np.float64) for column in zip(*ordered, strict=True))
    design = np.stack([np.ones_like(waves), waves, np.ceil(waves)], axis=1) / ns[:, None]
    (launch, gradual, whole), _ = scipy.optimize.nnls(design, np.ones_like(ns))
    if gradual + whole == 0:
        return None
    said = design @ np.array([launch, gradual, whole])
    fit = WaveFit(
        family=family, launch_ns=float(launch), wave_ns=float(gradual + whole), a=float(gradual / (gradual + whole)),
        error=float(np.mean(np.abs(said - 1))), launches=len(ordered), steps=(),
    )
    return WaveFit(
        family=family, launch_ns=fit.launch_ns, wave_ns=fit.wave_ns, a=fit.a, error=fit.error, launches=fit.launches,
        steps=_steps(fit, _levels(ordered)),
    )


def family_of(kernel: str) -> str:
    """The kernel's name without template arguments and parameters: launches of one family share their tile."""
    bare = re.sub(r"<.*>", "", kernel.removeprefix("void "))
    return re.sub(r"\(.*$", "", bare).strip()


def _levels(ordered: Sequence[tuple[float, int]]) -> list[tuple[float, float]]:
    """Mean ns per wave count, ascending."""
    grouped = itertools.groupby(ordered, key=lambda sample: sample[0])
    return [(waves, float(np.mean([ns for _, ns in group]))) for waves, group in grouped]


def _steps(fit: WaveFit, levels: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """(measured, predicted) ratio across each wave boundary that two neighbouring samples enclose."""
    return tuple(
        (high_ns / low_ns, fit.predict(high) / fit.predict(low))
        for (low, low_ns), (high, high_ns) in itertools.pairwise(levels)
        if math.ceil(high) > math.ceil(low)
    )
