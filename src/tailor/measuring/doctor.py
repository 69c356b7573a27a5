"""`doctor`: what can be measured here, how finely, and what would spoil it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from tailor.engines import ENGINES, open_device
from tailor.engines.host import available_cores
from tailor.errors import MeasurementError, MissingDependencyError, TailorError
from tailor.measuring.engines import EngineTiming, compare_engines
from tailor.measuring.machine import Machine, machine_here
from tailor.models import load_model
from tailor.primitive_cache import ENOUGH
from tailor.records import Conditions, TimingSettings
from tailor.spec import Target
from tailor.timing import settings_named

__all__ = ["Doctor", "EngineHealth", "examine", "warnings_of"]

NETWORK = "tailor/resnet20-cifar"  # small and real: 20 layers, 41 M multiplications
_CUDA_ONLY = ("cuda-graph", "onnxruntime-tensorrt", "tensorrt")
SLOW_TO_COMPILE = ("torch-compile", "tensorrt")  # their A/A would take longer than all the others together
_SETTINGS = replace(settings_named("quick"), max_seconds=6.0)
_ENGINE_PACKAGES = {"onnxruntime-tensorrt": "onnxruntime", "openvino": "openvino", "onnxruntime": "onnxruntime",
                    "tensorrt": "tensorrt"}  # fmt: skip
_NOISY = 0.02
_FEW_BYTES = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHealth:
    """One engine: its library's version, or why it cannot be used; what it took and its A/A resolution where measured.

    `ns` is the latency of the small network, `resolution` what two instances of it differed by.
    """

    engine: str
    version: str | None
    problem: str | None
    precision: str | None = None
    ns: int | None = None
    resolution: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Doctor:
    """What `tailor doctor` found; `conditions` are those of its own timing session."""

    network: str
    target: Target
    machine: Machine
    engines: tuple[EngineHealth, ...]
    conditions: Conditions | None
    warnings: tuple[str, ...]


def examine(target: Target, *, settings: TimingSettings = _SETTINGS) -> Doctor:
    """Look at the machine and every engine, and time a small network on those that compile it at once.

    Raises:
        InvalidOptionError: more threads than cores, or a device that does not exist.
        MeasurementError: CUDA was asked for and is not there.
    """
    open_device(replace(target, engine="torch"))  # torch knows every device: what it refuses is a mistake
    machine, engines = machine_here(), {name: _health(_target(name, target)) for name in ENGINES}
    usable = [name for name, health in engines.items() if health.problem is None and name not in SLOW_TO_COMPILE]
    conditions = None
    if usable:
        model = load_model(NETWORK, seed=0)
        timed, conditions = _timed(model, [_target(name, target) for name in usable], settings)
        engines |= {name: _with_timing(engines[name], timed[name]) for name in timed}
    found = tuple(engines.values())
    return Doctor(
        network=NETWORK,
        target=target,
        machine=machine,
        engines=found,
        conditions=conditions,
        warnings=warnings_of(machine, found, conditions),
    )


def warnings_of(
    machine: Machine, engines: Sequence[EngineHealth], conditions: Conditions | None
) -> tuple[str, ...]:
    """What the user should know before trusting a latency from this machine, one sentence each."""
    present = {health.engine for health in engines if health.problem is None}
    said = list(conditions.noisy()) if conditions is not None else []
    measured = [health for health in engines if health.resolution is not None]
    worst = max(measured, key=lambda health: health.resolution or 0.0, default=None)
    if worst is not None and (worst.resolution or 0.0) > _NOISY:
        said.append(
            f"copies of one network differed by {worst.resolution:.1%} on {worst.engine}: smaller steps cannot be "
            "seen; stop what else runs here, or time with --protocol precise and more --instances"
        )
    return (*said, *_traps(machine, present), *_host_warnings(machine))


def _traps(machine: Machine, engines: Collection[str]) -> Iterator[str]:
    """Settings under which two engines, or two processes, do not compute or time the same thing."""
    if machine.bf16_by_default and "openvino" in engines:
        yield (
            "OpenVINO computes in bf16 on this CPU unless told otherwise: --precision fp32 tells it, --precision auto "
            "does not; compare like with like"
        )
    if machine.tf32_by_default:
        yield (
            "torch rounds convolutions to TF32 on this GPU unless told otherwise: --precision fp32 forbids it, "
            "--precision tf32 allows it"
        )
    if machine.gpus:
        yield (
            "at batch 1 a large GPU mostly waits for kernels to be started (launch-bound): narrower layers gain little "
            "there; --engine cuda-graph or a larger batch does more"
        )
    if not machine.flushes_denormals:
        yield (
            "denormal weights slow CPUs down 5 to 30 times and torch does not flush them here: `tailor prune` sets "
            "them to zero in what it saves; call torch.set_flush_denormal(True) where other networks run"
        )
    if machine.allocator != "default":
        yield (
            "freed memory is kept while Tailor times; a process of yours with large activations is slower under "
            "glibc's usual settings: start it with MALLOC_TRIM_THRESHOLD_=2147483647 MALLOC_MMAP_THRESHOLD_=1073741824"
        )
    if machine.few_primitives:
        yield (
            f"{machine.few_primitives} is fewer kernels of oneDNN than a profile's sessions need in PyTorch: it would "
            f"compile them anew while they are timed; unset it, or say {ENOUGH}"
        )


def _host_warnings(machine: Machine) -> Iterator[str]:
    """What disturbs timing on this host."""
    cores = available_cores()
    if machine.spinning:
        yield f"{', '.join(machine.spinning)} keeps idle threads spinning: they take cores from others; unset it"
    if machine.quota is not None and machine.quota < cores:
        yield (
            f"the container may use {machine.quota:g} cores of {cores}: more threads than that are stopped in the "
            "middle of a call"
        )
    if machine.governor not in (None, "performance"):
        yield f"the clock governor is {machine.governor!r}: short runs are timed at a low clock; set it to performance"
    if machine.memory_available < _FEW_BYTES:
        free = machine.memory_available / 2**20
        yield f"only {free:.0f} MiB of memory are free: instances of large networks will not fit"


def _target(engine: str, like: Target) -> Target:
    """The engine where and as it can run: some know no CPU, ONNX Runtime's TensorRT no plain fp32."""
    precision = "tf32" if engine == "onnxruntime-tensorrt" and like.precision == "fp32" else like.precision
    return replace(
        like, engine=engine, device="cuda" if engine in _CUDA_ONLY else like.device, precision=precision
    )


def _health(target: Target) -> EngineHealth:
    try:
        open_device(target)
    except MissingDependencyError as error:
        return EngineHealth(engine=target.engine, version=None, problem=str(error))
    except TailorError as error:
        return EngineHealth(engine=target.engine, version=_version(target.engine), problem=str(error))
    return EngineHealth(engine=target.engine, version=_version(target.engine), problem=None)


def _version(engine: str) -> str | None:
    try:
        return importlib.metadata.version(_ENGINE_PACKAGES.get(engine, "torch"))
    except importlib.metadata.PackageNotFoundError:
        return None


def _timed(
    model: nn.Module, targets: Sequence[Target], settings: TimingSettings
) -> tuple[dict[str, EngineTiming | str], Conditions | None]:
    """By engine, the timing or why there is none."""
    try:
        found = compare_engines(model, torch.zeros(1, 3, 32, 32), targets, settings=settings, instances=2)
    except MeasurementError as error:
        return {target.engine: str(error) for target in targets}, None
    timed: dict[str, Any] = {each.target.engine: each.reason for each in found.not_run}
    return timed | {each.target.engine: each for each in found.timings}, found.conditions


def _with_timing(health: EngineHealth, timing: EngineTiming | str) -> EngineHealth:
    if isinstance(timing, str):
        return replace(health, problem=timing)
    ns = round(timing.latency.value)
    return replace(health, precision=timing.precision, ns=ns, resolution=timing.resolution)
