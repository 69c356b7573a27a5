"""Waves are counted from what limits an SM, and the share of an unfinished wave that is paid for is recovered."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tailor.errors import MeasurementError
from tailor.latency.wave_report import wave_report
from tailor.latency.waves import Gpu, KernelLaunch, family_of, fit_waves, resident_blocks, wave_count

A100 = Gpu(
    name="A100", capability=(8, 0), processors=108, threads=2048, registers=65536, shared_bytes=167936
)
V100 = replace(A100, name="V100", capability=(7, 0), processors=80, shared_bytes=98304)


def launch(
    blocks: int = 216, *, threads: int = 128, registers: int = 32, shared: int = 0, ns: int = 1000
) -> KernelLaunch:
    return KernelLaunch(
        kernel="void conv<128, 64>(float*)", grid=(blocks, 1, 1), block=(threads, 1, 1), registers=registers,
        shared_bytes=shared, ns=ns,
    )


@pytest.mark.parametrize(
    ("threads", "registers", "shared", "resident"),
    [
        (1024, 32, 0, 2),  # 64 warps at 32 each
        (64, 16, 0, 32),  # no more blocks than the architecture allows
        (128, 128, 0, 4),  # 4096 registers per warp: 4 warps per scheduler, 16 in all
        (32, 96, 0, 20),  # 3072 per warp: 5 per scheduler, not 21 over all
        (256, 255, 0, 1),  # 8192 per warp: 2 per scheduler, 8 in all
        (128, 32, 80 * 1024, 2),  # 81 KB with the reserved one, of 164
        (128, 32, 163 * 1024, 1),  # the trap: reported as occupancy 0
        (33, 32, 0, 32),  # a started warp counts whole
    ],
)
def test_resident_blocks_are_what_the_tightest_limit_allows(
    threads: int, registers: int, shared: int, resident: int
) -> None:
    assert resident_blocks(launch(threads=threads, registers=registers, shared=shared), A100) == resident


def test_the_system_keeps_shared_memory_only_from_capability_8_on() -> None:
    assert resident_blocks(launch(shared=48 * 1024), V100) == 2
    assert resident_blocks(launch(shared=48 * 1024), replace(V100, capability=(8, 0))) == 1
    assert resident_blocks(launch(threads=64, registers=16), replace(A100, capability=(8, 9))) == 24


def test_a_block_that_does_not_fit_is_a_contradiction() -> None:
    with pytest.raises(MeasurementError, match="does not fit on an SM of A100"):
        resident_blocks(launch(shared=200 * 1024), A100)


def test_the_tail_is_the_unused_part_of_the_last_wave() -> None:
    full = wave_count(launch(2 * 1728), A100)
    assert (full.slots, full.waves, full.tail_efficiency, full.cheaper_blocks) == (1728, 2.0, 1.0, 1728)
    one_more = wave_count(launch(2 * 1728 + 1), A100)
    assert one_more.tail_efficiency == pytest.approx(2 / 3, abs=0.001)
    assert one_more.cheaper_blocks == 3456
    assert wave_count(launch(10), A100).cheaper_blocks is None


@pytest.mark.parametrize("a", [0.0, 0.3, 1.0])
def test_the_planted_share_of_an_unfinished_wave_is_recovered(a: float) -> None:
    waves = [0.5, 0.9, 1.1, 1.6, 2.0, 2.2, 2.9, 3.1, 4.0]
    samples = [(w, round(5_000 + 20_000 * (a * w + (1 - a) * math.ceil(w)))) for w in waves]
    found = fit_waves("conv", samples)
    assert found is not None
    assert found.a == pytest.approx(a, abs=0.01)
    assert (found.launch_ns, found.wave_ns) == (pytest.approx(5_000, rel=0.02), pytest.approx(20_000, rel=0.02))
    assert len(found.steps) == 3
    for measured, predicted in found.steps:
        assert predicted == pytest.approx(measured, rel=0.01)


def test_one_wave_or_few_grids_fit_nothing() -> None:
    assert fit_waves("conv", [(0.1, 10), (0.2, 10), (0.5, 10), (0.9, 10)]) is None
    assert fit_waves("conv", [(1.0, 10), (2.0, 20), (3.0, 30)] * 5) is None


def test_kernels_are_summed_up_by_grid_and_families_by_tile() -> None:
    launches = [launch(blocks, ns=round(1000 * math.ceil(blocks / 1728))) for blocks in (1700, 1800, 3400, 3600, 5200)]
    found = wave_report(A100, [*launches, *launches, replace(launch(5, ns=100), kernel="void other()")])
    assert [each.launches for each in found.kernels] == [2, 2, 2, 2, 2, 1]
    assert found.kernels[0].waves.blocks == 5200
    assert [(fit.family, round(fit.a, 2)) for fit in found.fits] == [("conv", 0.0)]
    assert found.one_wave_share == pytest.approx(2100 / 24_100, abs=0.08)


def test_families_have_no_template_arguments() -> None:
    assert family_of("void cutlass::Kernel<cutlass_80_tensorop_s1688, 4>(Params)") == "cutlass::Kernel"
    assert family_of("sm80_xmma_fprop_tilesize128x128x16") == "sm80_xmma_fprop_tilesize128x128x16"
