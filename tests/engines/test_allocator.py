"""The allocator's state while timing: no page faults per call once a network has run, and memory handed back after."""

from __future__ import annotations

import platform
import resource

import pytest
import torch

from tailor.engines.allocator import allocator_fact, memory_kept

glibc_only = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator can be told")


def faults_of_one_call() -> int:
    """Page faults while 64 MB are allocated, written and freed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 * 2**20).add_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@glibc_only
def test_freed_memory_is_kept_while_timing_and_handed_back_afterwards() -> None:
    with memory_kept():
        faults_of_one_call()
        kept = min(faults_of_one_call() for _ in range(3))
    handed_back = faults_of_one_call()
    assert kept < 100 < handed_back


@glibc_only
def test_the_environment_says_so() -> None:
    assert "kept" in allocator_fact()
