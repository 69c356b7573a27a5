"""The doctor lists every engine, measures what it can at once, and warns of what it finds and of nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tailor.engines import ENGINES
from tailor.errors import InvalidOptionError
from tailor.measuring.doctor import Doctor, EngineHealth, examine, warnings_of
from tailor.measuring.machine import Machine
from tailor.records import Conditions, TimingSettings
from tailor.serialize import decode, encode
from tailor.spec import Target
from tailor.tables.doctor import doctor_text

FEW = TimingSettings(name="few", min_rounds=7, max_rounds=7, half_width=0.0, sample_seconds=0.0, warmup_seconds=0.0)
GOOD = Machine(
    host={"cpu": "Some CPU", "cpu_vectors": "avx2", "cores": "4"}, physical_cores=4, quota=None,
    memory_available=2**33, memory_total=2**34, governor="performance", gpus=(), tf32_by_default=False,
    bf16_by_default=False, flushes_denormals=True, spinning=(), allocator="default", few_primitives="",
)  # fmt: skip
QUIET = Conditions(seconds=3.0, steady=True, drift=0.0, samples=60, retaken=0)
TORCH = EngineHealth(engine="torch", version="2.9", problem=None, precision="fp32", ns=2_000_000, resolution=0.004)
OPENVINO = replace(TORCH, engine="openvino")


def test_a_sound_machine_is_not_warned_of() -> None:
    assert warnings_of(GOOD, [TORCH, OPENVINO], QUIET) == ()


@pytest.mark.parametrize(
    ("machine", "engines", "conditions", "fragment"),
    [
        (replace(GOOD, bf16_by_default=True), [OPENVINO], QUIET, "OpenVINO computes in bf16"),
        (replace(GOOD, tf32_by_default=True), [TORCH], QUIET, "TF32"),
        (replace(GOOD, gpus=("H100",)), [TORCH], QUIET, "launch-bound"),
        (replace(GOOD, flushes_denormals=False), [TORCH], QUIET, "denormal weights"),
        (replace(GOOD, allocator="glibc, freed memory kept"), [TORCH], QUIET, "MALLOC_TRIM_THRESHOLD_"),
        (replace(GOOD, spinning=("OMP_WAIT_POLICY=active",)), [TORCH], QUIET, "OMP_WAIT_POLICY=active"),
        (replace(GOOD, few_primitives="ONEDNN_PRIMITIVE_CACHE_CAPACITY=64"), [TORCH], QUIET, "CAPACITY=64 is fewer"),
        (replace(GOOD, quota=0.5), [TORCH], QUIET, "0.5 cores"),
        (replace(GOOD, governor="powersave"), [TORCH], QUIET, "'powersave'"),
        (replace(GOOD, memory_available=2**28), [TORCH], QUIET, "256 MiB"),
        (GOOD, [replace(TORCH, resolution=0.05)], QUIET, "copies of one network differed by 5.0% on torch"),
        (GOOD, [TORCH], replace(QUIET, steal=0.3), "steal"),
    ],
)
def test_every_trap_is_warned_of_alone(
    machine: Machine, engines: list[EngineHealth], conditions: Conditions, fragment: str
) -> None:
    (warning,) = warnings_of(machine, engines, conditions)
    assert fragment in warning


def test_bf16_is_no_trap_without_the_engine_that_takes_it() -> None:
    absent = replace(OPENVINO, problem="pip install ...")
    assert warnings_of(replace(GOOD, bf16_by_default=True), [TORCH, absent], QUIET) == ()


def test_every_engine_is_listed_with_its_resolution_or_its_reason() -> None:
    found = examine(Target(), settings=FEW)
    assert [health.engine for health in found.engines] == list(ENGINES)
    torch_health = found.engines[0]
    assert torch_health.problem is None
    assert torch_health.version is not None
    assert torch_health.ns is not None
    assert torch_health.resolution is not None
    assert decode(encode(found), Doctor) == found
    text = doctor_text(found, 160)
    for health in found.engines:
        assert health.engine in text
        assert health.problem is None or health.problem in text
    for warning in found.warnings:
        assert f"warning: {warning}" in text


def test_a_machine_without_anything_to_warn_of_is_told_so() -> None:
    slow = EngineHealth(engine="torch-compile", version="2.9", problem=None)
    found = Doctor(network="net", target=Target(), machine=GOOD, engines=(TORCH, slow), conditions=QUIET, warnings=())
    text = doctor_text(found, 160)
    assert text.endswith("nothing to warn of")
    assert "not timed here: it compiles for long" in text
    assert "not told by this system" in text
    assert "0.4 %" in text


def test_more_threads_than_cores_are_refused_and_not_called_a_missing_engine() -> None:
    with pytest.raises(InvalidOptionError, match="threads"):
        examine(Target(threads=4096), settings=FEW)
    with pytest.raises(InvalidOptionError, match="abacus"):
        examine(Target(device="abacus"), settings=FEW)
