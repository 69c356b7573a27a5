"""Facts about this machine that a latency depends on."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Mapping
from pathlib import Path

__all__ = ["available_cores", "host_facts"]

_VECTOR_FLAGS = ("amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni", "avx512f", "avx2", "asimd", "sve", "sve2")


def available_cores() -> int:
    """Cores that this process may run on (fewer than the machine has under an affinity mask)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def host_facts() -> Mapping[str, str]:
    """Processor, its vector instructions and operating system."""
    described = _proc_cpuinfo()
    model = described.get("model name") or platform.processor() or platform.machine()
    version = [described[name] for name in ("cpu family", "model", "stepping") if name in described]
    flags = set((described.get("flags") or described.get("Features") or "").split())
    return {
        "cpu": f"{model} ({'/'.join(version)})" if version else model,
        "cpu_vectors": " ".join(flag for flag in _VECTOR_FLAGS if flag in flags) or "unknown",
        "cores": str(available_cores()),
        "machine": platform.machine(),
        "system": platform.system(),
    }


def _proc_cpuinfo() -> Mapping[str, str]:
    """The first processor's entry, empty where the system has no such file."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    first = path.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}
