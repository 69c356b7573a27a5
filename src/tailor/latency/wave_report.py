"""Sums up the kernels of GPU traces in waves: which pay for unfinished ones, and the wave model of each family."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tailor.latency.waves import Gpu, KernelLaunch, WaveCount, WaveFit, family_of, fit_waves, wave_count

__all__ = ["KernelWaves", "WaveReport", "wave_report"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelWaves:
    """Launches of one kernel with one grid: how often, their median ns, and their waves."""

    kernel: str
    launches: int
    ns: int
    occupancy: float | None
    waves: WaveCount


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveReport:
    """The kernels of one or several traces of a GPU, the heaviest first, and the wave model of each family."""

    gpu: Gpu
    kernels: tuple[KernelWaves, ...]
    fits: tuple[WaveFit, ...]
    one_wave_share: float


def wave_report(gpu: Gpu, launches: Sequence[KernelLaunch]) -> WaveReport:
    """Count the waves of every kernel and fit the wave model per family, where its grids differ enough."""
    grouped: dict[tuple[str, tuple[int, ...], tuple[int, ...], int], list[KernelLaunch]] = defaultdict(list)
    for launch in launches:
        grouped[launch.kernel, launch.grid, launch.block, launch.shared_bytes].append(launch)
    kernels = [_kernel_waves(same, gpu) for same in grouped.values()]
    kernels.sort(key=lambda each: -each.ns * each.launches)
    samples: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for each in kernels:
        samples[family_of(each.kernel)].append((each.waves.waves, each.ns))
    fits = [fit for family, found in samples.items() if (fit := fit_waves(family, found)) is not None]
    total = sum(each.ns * each.launches for each in kernels)
    one = sum(each.ns * each.launches for each in kernels if each.waves.waves <= 1)
    return WaveReport(gpu=gpu, kernels=tuple(kernels), fits=tuple(fits), one_wave_share=one / total if total else 0.0)


def _kernel_waves(same: Sequence[KernelLaunch], gpu: Gpu) -> KernelWaves:
    return KernelWaves(
        kernel=same[0].kernel,
        launches=len(same),
        ns=round(statistics.median(launch.ns for launch in same)),
        occupancy=same[0].occupancy,
        waves=wave_count(same[0], gpu),
    )
