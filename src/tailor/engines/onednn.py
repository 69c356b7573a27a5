"""What oneDNN, which computes PyTorch's convolutions on CPUs, says of the kernels ("primitives") of one call."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

import torch

from tailor.engines.torch_state import onednn_in_use
from tailor.primitive_cache import may_be_few

__all__ = ["asked_about", "compiled_anew", "onednn_lines"]


def asked_about(call: Callable[[], object], device: torch.device) -> Callable[[], int] | None:
    """What tells of a call how many primitives are compiled for it; None where oneDNN surely keeps them all."""
    asks = device.type == "cpu" and onednn_in_use() and may_be_few()
    return functools.partial(compiled_anew, call) if asks else None


def compiled_anew(call: Callable[[], object]) -> int:
    """How many primitives oneDNN compiles during one call, because it keeps none that fit."""
    return onednn_lines(call, torch.backends.mkldnn.VERBOSE_ON_CREATION).count("create:cache_miss")


def onednn_lines(call: Callable[[], object], level: int = torch.backends.mkldnn.VERBOSE_ON) -> str:
    """What oneDNN prints about the primitives of one call; it writes to the process's standard output, nowhere else.

    `level` is what `torch.backends.mkldnn.verbose` takes: primitives that ran, or also whether each was compiled anew.
    """
    with tempfile.TemporaryFile() as file:
        verbose = torch.backends.mkldnn.verbose(level)  # type: ignore[no-untyped-call]
        with _standard_output_in(file), verbose:
            call()
        file.seek(0)
        return file.read().decode(errors="replace")


@contextmanager
def _standard_output_in(file: BinaryIO) -> Iterator[None]:
    """Send what C libraries print into a file; the descriptor is put back afterwards."""
    library = ctypes.CDLL(None)
    sys.stdout.flush()
    library.fflush(None)
    saved = os.dup(1)
    os.dup2(file.fileno(), 1)
    try:
        yield
    finally:
        library.fflush(None)
        os.dup2(saved, 1)
        os.close(saved)
