"""This machine and this process, as far as latency depends on them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from tailor.engines.allocator import allocator_fact
from tailor.engines.host import host_facts
from tailor.primitive_cache import too_few

__all__ = ["Machine", "machine_here", "quota_of", "spinning_settings"]

_SPINNING = {"OMP_WAIT_POLICY": ("active",), "KMP_BLOCKTIME": ("infinite",), "GOMP_SPINCOUNT": ("infinite", "infinity")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What latency depends on beside the network and the engine.

    `quota` is how many cores a container's limit allows, None without one; `memory` in bytes; `spinning` the settings
    in the environment that keep idle threads busy; `flushes_denormals` whether torch sets them to zero now;
    `few_primitives` the setting that lets oneDNN keep fewer primitives than large sessions need, "" where none does.
    """

    host: Mapping[str, str]
    physical_cores: int | None
    quota: float | None
    memory_available: int
    memory_total: int
    governor: str | None
    gpus: tuple[str, ...]
    tf32_by_default: bool
    bf16_by_default: bool
    flushes_denormals: bool
    spinning: tuple[str, ...]
    allocator: str
    few_primitives: str


def machine_here() -> Machine:
    """The machine as it stands now."""
    host, memory = host_facts(), psutil.virtual_memory()
    cuda = torch.cuda.is_available()
    return Machine(
        host=host,
        physical_cores=psutil.cpu_count(logical=False),
        quota=quota_of(Path("/sys/fs/cgroup")),
        memory_available=memory.available,
        memory_total=memory.total,
        governor=_governor(),
        gpus=tuple(torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())) if cuda else (),
        tf32_by_default=cuda and bool(torch.backends.cudnn.allow_tf32),
        bf16_by_default=bool({"avx512_bf16", "amx_bf16"} & set(host["cpu_vectors"].split())),
        flushes_denormals=_flushes_denormals(),
        spinning=spinning_settings(os.environ),
        allocator=allocator_fact(),
        few_primitives=too_few(os.environ),
    )


def spinning_settings(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The variables that make idle OpenMP threads spin, as NAME=value; the usual short spinning is not among them."""
    return tuple(
        f"{name}={environment[name]}"
        for name, values in _SPINNING.items()
        if environment.get(name, "").strip().lower() in values
    )


def quota_of(folder: Path) -> float | None:
    """Cores that the control group's quota allows (cpu.max of cgroup v2, cfs quota of v1), None without a limit."""
    modern, quota, period = folder / "cpu.max", folder / "cpu/cpu.cfs_quota_us", folder / "cpu/cpu.cfs_period_us"
    if modern.is_file():
        words = modern.read_text().split()
    elif quota.is_file() and period.is_file():
        words = [quota.read_text().strip(), period.read_text().strip()]
    else:
        return None
    return int(words[0]) / int(words[1]) if words[0].isdecimal() else None  # "max" and -1 are no limit


def _governor() -> str | None:
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def _flushes_denormals() -> bool:
    """Whether a product that is denormal comes out as zero."""
    return bool((torch.full((16,), 1e-38) * 1e-3 == 0).all())
