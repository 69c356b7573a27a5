"""PyTorch in eager mode, on the CPU or a CUDA device."""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tailor.calling import output_tensors
from tailor.engines.runtime import SUBJECT_ERRORS, Prepared
from tailor.engines.torch_state import LAYOUTS, PRECISIONS, device_named, numerics, torch_facts
from tailor.errors import InvalidOptionError
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
        for name, known in (("precision", PRECISIONS), ("layout", LAYOUTS)):
            value = getattr(target, name)
            if value not in known:
                raise InvalidOptionError(f"torch has no {name} {value!r}; there are {', '.join(known)}", value=value)
        self.target = target
        self._device = device_named(target.device)
        self._moved: dict[int, tuple[Any, Any]] = {}

    def facts(self) -> Mapping[str, str]:
        """Versions and flags of torch, and of CUDA where it is the device."""
        return torch_facts(self._device)

    @contextmanager
    def session(self) -> Iterator[None]:
        """The target's threads and matrix precision, put back afterwards."""
        threads = torch.get_num_threads()
        try:
            with numerics(self.target.precision):
                torch.set_num_threads(self.target.threads)
                yield
        finally:
            torch.set_num_threads(threads)
            self._moved.clear()

    def prepare(self, module: nn.Module, inputs: tuple[Any, ...]) -> Prepared:
        """A private copy on the device; inputs that subjects of one session share are moved once."""
        ready = self.placed(module)
        moved = tuple(self._place_once(value) for value in inputs)
        call = functools.partial(ready, *moved)
        return Prepared(
            call=call,
            outputs=lambda: output_tensors(call()),
            layers=functools.partial(_layer_times, ready, call, self.sync),
        )

    def placed(self, module: nn.Module) -> nn.Module:
        """A copy of the module in eval mode, on the target's device, in its precision and layout."""
        ready: nn.Module = copy.deepcopy(module).eval().to(device=self._device)
        if PRECISIONS[self.target.precision] is not torch.float32:
            ready = ready.to(dtype=PRECISIONS[self.target.precision])
        if self.target.layout == "channels_last":
            ready = ready.to(memory_format=torch.channels_last)
        return ready

    def place(self, value: Any) -> Any:
        """A copy on the device in the target's precision and layout: a model may write into its inputs."""
        if not isinstance(value, Tensor):
            return copy.deepcopy(value)
        moved = value.detach().clone().to(self._device)
        if moved.is_floating_point():
            moved = moved.to(PRECISIONS[self.target.precision])
        if moved.ndim == 4:
            moved = moved.contiguous(memory_format=LAYOUTS[self.target.layout])
        return moved

    def sync(self) -> None:
        """Wait for a CUDA device."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _place_once(self, value: Any) -> Any:
        if id(value) not in self._moved:
            self._moved[id(value)] = (value, self.place(value))  # the original is held, so that its id stays its own
        return self._moved[id(value)][1]


def _layer_times(
    module: nn.Module, call: Callable[[], object], sync: Callable[[], None], calls: int
) -> tuple[NodeTime, ...]:
    """Mean ns of every leaf module by clock readings before and after it; what no leaf does is not listed."""
    leaves = {name: part for name, part in module.named_modules() if not any(part.children())}
    spent = dict.fromkeys(leaves, 0)
    started = dict.fromkeys(leaves, 0)

    def before(name: str) -> Callable[..., None]:
        def read(*_: object) -> None:
            sync()
            started[name] = time.perf_counter_ns()

        return read

    def after(name: str) -> Callable[..., None]:
        def read(*_: object) -> None:
            sync()
            spent[name] += time.perf_counter_ns() - started[name]

        return read

    call()
    handles = [part.register_forward_pre_hook(before(name)) for name, part in leaves.items()]
    handles += [part.register_forward_hook(after(name)) for name, part in leaves.items()]
    try:
        call()
        spent.update(dict.fromkeys(leaves, 0))
        for _ in range(calls):
            call()
    finally:
        for handle in handles:
            handle.remove()
    return tuple(
        NodeTime(name=name, layer=name, kind=type(part).__name__, kernel="", ns=spent[name] / calls)
        for name, part in leaves.items()
    )
