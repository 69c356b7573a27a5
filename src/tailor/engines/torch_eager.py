"""PyTorch in eager mode, on the CPU or a CUDA device."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from tailor.calling import output_tensors
from tailor.engines.onednn import asked_about
from tailor.engines.placement import Placement
from tailor.engines.runtime import SUBJECT_ERRORS, Prepared, middle_mean, settle
from tailor.engines.torch_state import numerics, torch_facts
from tailor.engines.torch_threads import torch_threads
from tailor.records import NodeTime
from tailor.spec import Target

__all__ = ["TorchEager"]


class TorchEager:
    """A Runtime: calls a copy of the module as it is."""

    recover = SUBJECT_ERRORS

    def __init__(self, target: Target) -> None:
        """Check the target against this machine.

        Raises:
            InvalidOptionError: a precision, layout or device that torch does not know.
            MeasurementError: CUDA was asked for and is not there.
        """
        self.target = target
        self._placement = Placement(target)

    def facts(self) -> Mapping[str, str]:
        """Versions and flags of torch, and of CUDA where it is the device."""
        return torch_facts(self._placement.device)

    @contextmanager
    def session(self) -> Iterator[None]:
        """The target's threads and matrix precision, put back afterwards."""
        try:
            with numerics(self.target.precision), torch_threads(self.target.threads):
                yield
        finally:
            self._placement.clear()

    def prepare(self, module: nn.Module, inputs: tuple[Any, ...]) -> Prepared:
        """A private copy on the device, called as it is."""
        ready = self._placement.module(module)
        call = functools.partial(ready, *self._placement.inputs(inputs))
        return Prepared(
            call=call,
            outputs=lambda: output_tensors(call()),
            layers=functools.partial(_layer_times, ready, call, self.sync),
            compiled=asked_about(call, self._placement.device),
        )

    def sync(self) -> None:
        """Wait for a CUDA device."""
        if self._placement.device.type == "cuda":
            torch.cuda.synchronize(self._placement.device)

def _layer_times(
    module: nn.Module, call: Callable[[], object], sync: Callable[[], None], calls: int
) -> tuple[NodeTime, ...]:
    """ns of every leaf module per call by clock readings before and after it; what no leaf does is not listed."""
    leaves = {name: part for name, part in module.named_modules() if not any(part.children())}
    spent: list[dict[str, int]] = []
    started = dict.fromkeys(leaves, 0)

    def before(name: str) -> Callable[..., None]:
        def read(*_: object) -> None:
            sync()
            started[name] = time.perf_counter_ns()

        return read

    def after(name: str) -> Callable[..., None]:
        def read(*_: object) -> None:
            sync()
            spent[-1][name] += time.perf_counter_ns() - started[name]

        return read

    settle(call)
    handles = [part.register_forward_pre_hook(before(name)) for name, part in leaves.items()]
    handles += [part.register_forward_hook(after(name)) for name, part in leaves.items()]
    try:
        for _ in range(calls + 1):
            spent.append(dict.fromkeys(leaves, 0))
            call()
    finally:
        for handle in handles:
            handle.remove()
    return tuple(
        NodeTime(
            name=name,
            layer=name,
            kind=type(part).__name__,
            kernel="",
            ns=middle_mean([one[name] for one in spent[1:]]),  # the first call met the hooks for the first time
        )
        for name, part in leaves.items()
    )
