"""What `tailor analyze-waves` prints: kernels in waves, and predicted against measured steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tailor.console import table_text
from tailor.latency.wave_report import WaveReport
from tailor.latency.waves import WaveFit, family_of
from tailor.report.wording import duration, percent

__all__ = ["waves_text"]

_HEAVIEST = 20  # kernels listed
_FLAT = 0.8  # share of the time in kernels of at most one wave from which narrowing cannot help


def waves_text(found: WaveReport, columns: int) -> str:
    """The heaviest kernels in waves, the fitted families, and whether narrower layers can help at all."""
    gpu = found.gpu
    parts = [f"{gpu.name}: {gpu.processors} SMs, compute capability {gpu.capability[0]}.{gpu.capability[1]}"]
    rows = [
        (
            str(each.launches),
            duration(each.ns),
            f"{each.waves.blocks:,}",
            str(each.waves.resident),
            f"{each.waves.waves:.2f}",
            percent(each.waves.tail_efficiency, 0),
            "unknown" if each.occupancy is None else percent(each.occupancy, 0),
            "" if each.waves.cheaper_blocks is None else f"{each.waves.cheaper_blocks:,}",
            family_of(each.kernel),
        )
        for each in found.kernels[:_HEAVIEST]
    ]
    headers = (">launches", ">median", ">blocks", ">per SM", ">waves", ">tail", ">occupancy", ">next step at", "kernel")
    parts.append(table_text(headers, rows, columns=columns))
    parts.append(_fits_text(found.fits, columns))
    if found.one_wave_share >= _FLAT:
        share = percent(found.one_wave_share, 0)
        parts.append(
            f"{share} of the time is in kernels that fit into one wave: fewer output channels leave them as long as "
            "they are. A larger batch, a CUDA graph, or removing whole blocks helps instead."
        )
    return "\n\n".join(parts)


def _fits_text(fits: Sequence[WaveFit], columns: int) -> str:
    if not fits:
        return (
            "no kernel family ran with four different grids of more than one wave, so no wave model can be fitted; "
            "give traces of several widths or batch sizes"
        )
    rows = [
        (
            str(fit.launches),
            f"{fit.a:.2f}",
            duration(fit.wave_ns),
            percent(fit.error),
            " ".join(f"{_step(measured)}/{_step(predicted)}" for measured, predicted in fit.steps),
            fit.family,
        )
        for fit in fits
    ]
    headers = (">grids", ">a", ">per wave", ">error", "steps measured/predicted", "family")
    return table_text(headers, rows, columns=columns)


def _step(ratio: float) -> str:
    return f"{'+' if ratio >= 1 else '-'}{math.fabs(100 * (ratio - 1)):.0f}%"
