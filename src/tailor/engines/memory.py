"""A batch that does not fit in memory is told beforehand: Linux kills the process instead of refusing the memory."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from tailor.calling import output_tensors
from tailor.engines.runtime import SUBJECT_ERRORS

__all__ = ["available_bytes", "check_memory", "tensor_bytes"]

_HARMLESS = 256  # inputs below this part of the free memory: no layer of a CNN is that many times larger than its image


def available_bytes(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Memory that this process may still take: the machine's, or what the control group (version 2) leaves of it."""
    available: int = psutil.virtual_memory().available
    limit, used = root / "memory.max", root / "memory.current"
    if limit.exists() and used.exists() and limit.read_text().strip().isdigit():
        available = min(available, max(0, int(limit.read_text()) - int(used.read_text())))
    return available


def tensor_bytes(values: Sequence[Any]) -> int:
    """Bytes of the tensors among the values and in what they hold."""
    return sum(tensor.numel() * tensor.element_size() for tensor in output_tensors(tuple(values)))


def check_memory(
    module: nn.Module, inputs: tuple[Any, ...], *, available: Callable[[], int] = available_bytes
) -> None:
    """Refuse inputs whose largest layer (its input and output) would not fit; one sample is run to find it.

    Raises:
        MemoryError: the batch, the bytes it needs at least, and those there are.
    """
    free = available()
    if tensor_bytes(inputs) * _HARMLESS <= free:
        return
    batch = next((value.shape[0] for value in inputs if isinstance(value, Tensor) and value.ndim), 1)
    try:
        needed = batch * _largest_layer(module, _one_sample(inputs, batch))
    except SUBJECT_ERRORS:
        return  # it does not take one sample: whatever it says, it will say again
    if needed > free:
        raise MemoryError(
            f"batch {batch} needs at least {needed / 1e9:.1f} GB for its largest layer and {free / 1e9:.1f} GB are "
            "free; give a smaller batch"
        )


def _one_sample(inputs: tuple[Any, ...], batch: int) -> tuple[Any, ...]:
    def first(value: Any) -> Any:
        has_batch = isinstance(value, Tensor) and value.ndim > 0 and value.shape[0] == batch
        return value[:1].detach().clone() if has_batch else copy.deepcopy(value)

    return tuple(first(value) for value in inputs)


def _largest_layer(module: nn.Module, sample: tuple[Any, ...]) -> int:
    """Bytes in and out of the largest module without children, on a copy."""
    ready: nn.Module = copy.deepcopy(module).eval()
    sizes = [0]

    def note(_: nn.Module, given: Any, made: Any) -> None:
        sizes.append(tensor_bytes([given, made]))

    for part in ready.modules():
        if not any(part.children()):
            part.register_forward_hook(note)
    with torch.inference_mode():
        ready(*sample)
    return max(sizes)
