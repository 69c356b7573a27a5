"""Private copies of modules and inputs on torch's device, in the number format and memory layout of a target."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from tailor.engines.torch_state import LAYOUTS, PRECISIONS, device_named
from tailor.errors import InvalidOptionError
from tailor.spec import Target

__all__ = ["Placement"]


class Placement:
    """Copies for the engines that run inside torch; inputs that subjects of one session share are copied once."""

    def __init__(self, target: Target) -> None:
        """Check the target against torch and this machine.

        Raises:
            InvalidOptionError: a precision, layout or device that torch does not know.
            MeasurementError: CUDA was asked for and is not there.
        """
        for name, known in (("precision", PRECISIONS), ("layout", LAYOUTS)):
            value = getattr(target, name)
            if value not in known:
                raise InvalidOptionError(
                    f"engine {target.engine} has no {name} {value!r}; there are {', '.join(known)}", value=value
                )
        self.device = device_named(target.device)
        if target.precision == "tf32" and self.device.type == "cpu":
            raise InvalidOptionError("tf32 is a number format of CUDA devices; give fp32 on the CPU", value="tf32")
        self._dtype, self._layout = PRECISIONS[target.precision], LAYOUTS[target.layout]
        self._shared: dict[int, tuple[Any, Any]] = {}

    def module(self, module: nn.Module) -> nn.Module:
        """A copy of the module in eval mode."""
        ready: nn.Module = copy.deepcopy(module).eval().to(device=self.device)
        if self._dtype is not torch.float32:
            ready = ready.to(dtype=self._dtype)
        if self._layout is torch.channels_last:
            ready = ready.to(memory_format=torch.channels_last)
        return ready

    def inputs(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Copies of the inputs: a model may write into them."""
        return tuple(self._once(value) for value in inputs)

    def clear(self) -> None:
        """Forget the inputs of the session."""
        self._shared.clear()

    def _once(self, value: Any) -> Any:
        if id(value) not in self._shared:
            self._shared[id(value)] = (value, self._copy(value))  # the original is held, so that its id stays its own
        return self._shared[id(value)][1]

    def _copy(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return copy.deepcopy(value)
        moved = value.detach().clone().to(self.device)
        if moved.is_floating_point():
            moved = moved.to(self._dtype)
        if moved.ndim == 4:
            moved = moved.contiguous(memory_format=self._layout)
        return moved
