"""One well-defined state of the C allocator while timing: memory that was freed is kept for the next call.

By default glibc hands large freed blocks back to the system and asks for them again at the next call, page by page;
when it does so depends on what else the process has allocated before. With large activations a young process pays for
that and an old one does not, and a narrower network may stay below the threshold: ratios would depend on the age of the
process (benchmarks/allocator.py).
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["allocator_fact", "memory_kept", "memory_returned"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt's names for its options (malloc.h)
_KEPT = (2**31 - 1, 2**30)  # bytes free at the top, and bytes of one block, below which nothing is handed back
_USUAL = (2**26, 2**25)  # where glibc's own adaptation ends: how the process is left


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def allocator_fact() -> str:
    """How memory is handled while timing, for the environment."""
    return "default" if _glibc() is None else "glibc, freed memory kept"


@contextmanager
def memory_kept() -> Iterator[None]:
    """Keep freed memory in the process, and hand it back afterwards; does nothing where libc is not glibc."""
    libc = _glibc()
    if libc is None:
        yield
        return
    _set(libc, _KEPT)
    try:
        yield
    finally:
        _set(libc, _USUAL)
        libc.malloc_trim(0)


@contextmanager
def memory_returned() -> Iterator[None]:
    """Inside `memory_kept`: hand large blocks back to the system for a while, then keep freed memory again.

    A compiler asks for scratch memory between the small things that it leaves behind. Kept, the scratch of one subject
    is cut up by them and the next asks for new: 32 MB for each network that inductor compiled.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    _set(libc, _USUAL)
    try:
        yield
    finally:
        _set(libc, _KEPT)


def _set(libc: ctypes.CDLL, thresholds: tuple[int, int]) -> None:
    trim, mmap = thresholds
    libc.mallopt(_TRIM_THRESHOLD, trim)
    if not libc.mallopt(_MMAP_THRESHOLD, mmap):  # older releases refuse more than this
        libc.mallopt(_MMAP_THRESHOLD, 2**25)
