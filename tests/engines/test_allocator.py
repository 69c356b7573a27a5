"""The allocator's state while timing: no page faults per call once a network has run, and memory handed back after."""

from __future__ import annotations

import platform
import resource

import pytest
import torch

from tailor.engines import allocator
from tailor.engines.allocator import allocator_fact, memory_kept, memory_returned

glibc_only = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator can be told")


def faults_of_one_call() -> int:
    """Page faults while 64 MB are allocated, written and freed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 * 2**20).add_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def faults_of_a_later_call() -> int:
    """Page faults of one call after ten: until the heap's small blocks have settled, a call may find a new place."""
    for _ in range(10):
        faults_of_one_call()
    return min(faults_of_one_call() for _ in range(3))


@glibc_only
def test_freed_memory_is_kept_while_timing_and_handed_back_afterwards() -> None:
    with memory_kept():
        kept = faults_of_a_later_call()
    handed_back = faults_of_one_call()
    assert kept < 100 < handed_back


@glibc_only
def test_a_compiler_hands_its_scratch_memory_back_and_afterwards_memory_is_kept_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(allocator, "_set", lambda libc, thresholds: told.append(thresholds))
    with memory_kept():
        with pytest.raises(RuntimeError, match="does not compile"), memory_returned():
            raise RuntimeError("does not compile")
        during = list(told)
    kept, usual = allocator._KEPT, allocator._USUAL
    assert during == [kept, usual, kept]
    assert told[-1] == usual


@glibc_only
def test_the_environment_says_so() -> None:
    assert "kept" in allocator_fact()
