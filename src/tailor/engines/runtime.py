"""What one engine's file provides: its facts, its session, and how a module becomes a call that can be timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from tailor.calling import FORWARD_ERRORS
from tailor.records import NodeTime
from tailor.spec import Target

__all__ = ["SUBJECT_ERRORS", "Prepared", "Runtime", "middle_mean", "settle"]

# What a model may raise when it runs here; RuntimeError includes running out of device memory.
SUBJECT_ERRORS: tuple[type[Exception], ...] = (*FORWARD_ERRORS, MemoryError)


_SETTLING_CALLS, _SETTLING_SECONDS = 12, 0.02  # as before a timed sample (see timing): later calls change no more


def settle(call: Callable[[], object]) -> None:
    """Call until the caches hold what this network needs; once at least."""
    started = time.perf_counter()
    for _ in range(_SETTLING_CALLS):
        call()
        if time.perf_counter() - started > _SETTLING_SECONDS:
            break


def middle_mean(values: Sequence[float]) -> float:
    """The mean of the middle half: one call that something disturbed does not count."""
    cut = len(values) // 4
    middle = sorted(values)[cut : len(values) - cut]
    return sum(middle) / len(middle)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """A module made ready on an engine, with its inputs bound.

    `call` runs it once and is what is timed. `outputs` runs it once and hands back its tensors on the CPU, in the order
    in which the module returns them. `layers`, where the engine can tell, runs it so many times and returns what
    each node of the whole network took. `compiled`, where the engine compiles during calls and may forget it again,
    runs it once and returns how many kernels were compiled. `facts` tells what the engine made of it (the precision it
    really uses ...).
    """

    call: Callable[[], object]
    outputs: Callable[[], list[Tensor]]
    layers: Callable[[int], tuple[NodeTime, ...]] | None = None
    compiled: Callable[[], int] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


class Runtime(Protocol):
    """An engine with the settings of one target; `Bench` makes a Device of it (see protocols)."""

    target: Target
    recover: tuple[type[Exception], ...]  # what a subject may raise without ending the session

    def facts(self) -> Mapping[str, str]:
        """Versions and settings of the engine that latency depends on, beside those of the host and the target."""

    def session(self) -> AbstractContextManager[None]:
        """The state of the process while subjects are prepared and timed; put back afterwards."""

    def prepare(self, module: nn.Module, inputs: tuple[Any, ...]) -> Prepared:
        """A private copy of the module in eval mode, compiled; neither the module nor the inputs are written to."""

    def sync(self) -> None:
        """Wait until what was called is done."""
