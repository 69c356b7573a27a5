"""One file per runtime behind the Device protocol; `open_device` picks the one that a target names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tailor.errors import UnknownNameError
from tailor.spec import Target

if TYPE_CHECKING:
    from tailor.protocols import Device

__all__ = ["ENGINES", "open_device"]

ENGINES = ("torch",)
_NOT_BUILT_YET = ("cuda-graph", "onnxruntime", "openvino", "tensorrt", "torch-compile")


def open_device(target: Target) -> Device:
    """The engine on the hardware that the target names, ready to measure.

    Raises:
        UnknownNameError: no such engine, or one that is not built yet.
        InvalidOptionError: an option of the target that the engine does not know, or more threads than cores.
        MeasurementError: the hardware is not there.
    """
    if target.engine in _NOT_BUILT_YET:
        raise UnknownNameError(f"engine {target.engine!r} is not built yet; use torch", value=target.engine)
    if target.engine not in ENGINES:
        raise UnknownNameError(f"no engine {target.engine!r}; there is {', '.join(ENGINES)}", value=target.engine)
    from tailor.engines.torch_eager import TorchEager

    return TorchEager(target)
