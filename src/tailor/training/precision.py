"""Where and in which arithmetic networks are trained and judged: bf16 where the hardware has it, else fp32."""

from __future__ import annotations

import functools
from pathlib import Path

import torch

from tailor.errors import InvalidOptionError

__all__ = ["autocast", "resolve_precision", "training_device"]

# as Linux names them: x86 with AVX-512 or AMX, and 64-bit Arm
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


def training_device() -> str:
    """The first GPU if there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def resolve_precision(precision: str, device: str) -> str:
    """The precision that "auto" means on this device; "fp32" and "bf16" are taken as given.

    Raises:
        InvalidOptionError: any other name.
    """
    if precision in {"fp32", "bf16"}:
        return precision
    if precision != "auto":
        raise InvalidOptionError(f"precision {precision!r} is not one of auto, fp32, bf16", value=precision)
    if torch.device(device).type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if _cpu_has_bf16() else "fp32"


def autocast(precision: str, device: str) -> torch.autocast:
    """A context in which convolutions and matrix products run in bf16, or one that changes nothing."""
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=precision == "bf16")


@functools.cache
def _cpu_has_bf16() -> bool:
    # without native instructions bf16 is emulated and slower than fp32
    facts = Path("/proc/cpuinfo")
    if not facts.is_file():
        return False
    for line in facts.read_text(errors="replace").splitlines():
        if line.lower().startswith(("flags", "features")):
            return bool(BF16_FLAGS & set(line.split()))
    return False
