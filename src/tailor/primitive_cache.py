"""Room in oneDNN for the kernels of all networks of a timing session.

oneDNN compiles a kernel (a "primitive") for every shape that PyTorch asks for on a CPU, several per convolution, and
keeps the 1024 that were used last. Forty networks in turn need more, and some of their calls would be timed while
kernels are compiled anew (benchmarks/primitive_cache.py). It reads how many to keep when it is first used, so Tailor
says it when it is imported; a number that the user chose stays. Where torch was imported before, oneDNN may have been
used by then: sessions ask it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

__all__ = ["ENOUGH", "VARIABLE", "make_room", "may_be_few", "primitives_kept", "too_few"]

_TORCH_WAS_FIRST = "torch" in sys.modules
VARIABLE = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
_VARIABLES = (VARIABLE, "DNNL_PRIMITIVE_CACHE_CAPACITY")  # the first counts where both are set
ENOUGH = 2**15  # 72 networks of 100 convolutions


def make_room() -> None:
    """Let oneDNN keep as many primitives as the largest sessions need; too late once it has been used."""
    if not primitives_kept(os.environ):
        os.environ[VARIABLE] = str(ENOUGH)


def primitives_kept(environment: Mapping[str, str]) -> str:
    """The variable that says how many primitives oneDNN keeps, as NAME=value; "" where none says it."""
    return next((f"{name}={environment[name]}" for name in _VARIABLES if name in environment), "")


def too_few(environment: Mapping[str, str]) -> str:
    """The same where the user chose fewer than large sessions need, else ""."""
    told = primitives_kept(environment)
    count = told.partition("=")[2].strip()
    return told if told and not (count.isdecimal() and int(count) >= ENOUGH) else ""


def may_be_few() -> bool:
    """Whether oneDNN perhaps keeps fewer than large sessions need: told too late, or by the user."""
    return _TORCH_WAS_FIRST or bool(too_few(os.environ))
