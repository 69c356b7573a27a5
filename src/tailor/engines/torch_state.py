"""What every engine that runs inside torch shares: devices, number formats, layouts, and the flags of speed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from tailor.errors import InvalidOptionError, MeasurementError
from tailor.primitive_cache import primitives_kept

__all__ = ["LAYOUTS", "PRECISIONS", "device_named", "numerics", "onednn_in_use", "torch_facts"]

# "tf32" is fp32 in memory whose products a CUDA device may round to 10 bits; "fp32" forbids that.
PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def device_named(name: str) -> torch.device:
    """The device, with its index when it is a CUDA device.

    Raises:
        InvalidOptionError: torch does not know it, or it is neither cpu nor cuda.
        MeasurementError: there is no such CUDA device here.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InvalidOptionError(f"torch has no device {name!r}; give cpu or cuda", value=name) from None
    if device.type not in ("cpu", "cuda"):
        raise InvalidOptionError(f"the torch engine times cpu and cuda, not {name!r}", value=name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise MeasurementError("device cuda: torch sees no CUDA device here; use --device cpu", value=name)
        index = torch.cuda.current_device() if device.index is None else device.index
        if index >= torch.cuda.device_count():
            raise MeasurementError(f"device {name}: there are {torch.cuda.device_count()} CUDA devices", value=name)
        return torch.device("cuda", index)
    return device


@contextmanager
def numerics(precision: str) -> Iterator[None]:
    """TF32 allowed for "tf32" and forbidden otherwise (torch allows it in convolutions by default); put back after."""
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products


def torch_facts(device: torch.device) -> Mapping[str, str]:
    """What decides torch's speed on this device, beside the target itself."""
    facts = {
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "onednn": str(onednn_in_use()),
        "onednn_primitives": primitives_kept(os.environ),
    }
    if device.type != "cuda":
        return facts
    properties = torch.cuda.get_device_properties(device)
    return facts | {
        "gpu": properties.name,
        "gpu_capability": f"{properties.major}.{properties.minor}",
        "gpu_processors": str(properties.multi_processor_count),
        "gpu_memory": str(properties.total_memory),
        "driver": _driver_version(),
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        "cudnn_benchmark": str(torch.backends.cudnn.benchmark),
    }


def onednn_in_use() -> bool:
    """Whether torch computes with oneDNN where it can."""
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and bool(torch.backends.mkldnn.enabled)


def _driver_version() -> str:
    """The NVIDIA driver as the kernel reports it, or "unknown"."""
    path = Path("/proc/driver/nvidia/version")
    return path.read_text(encoding="utf-8").splitlines()[0] if path.exists() else "unknown"
