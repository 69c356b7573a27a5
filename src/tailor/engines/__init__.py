"""One file per runtime; `open_device` makes a Device of the one that a target names."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from tailor.errors import UnknownNameError
from tailor.spec import Target

if TYPE_CHECKING:
    from tailor.engines.bench import Bench

__all__ = ["ENGINES", "open_device"]

# Name -> module and class of its Runtime; imported when asked for, because each brings a library along.
_RUNTIMES = {
    "torch": ("tailor.engines.torch_eager", "TorchEager"),
    "torch-compile": ("tailor.engines.torch_compile", "TorchCompile"),
    "cuda-graph": ("tailor.engines.cuda_graph", "CudaGraph"),
    "onnxruntime": ("tailor.engines.onnxruntime", "OnnxRuntime"),
    "onnxruntime-tensorrt": ("tailor.engines.onnxruntime", "OnnxRuntime"),
    "openvino": ("tailor.engines.openvino", "OpenVino"),
    "tensorrt": ("tailor.engines.tensorrt", "TensorRt"),
}
ENGINES = tuple(_RUNTIMES)


def open_device(target: Target) -> Bench:
    """The engine on the hardware that the target names, ready to measure.

    Raises:
        UnknownNameError: no such engine.
        MissingDependencyError: the engine's library is not installed; says how to install it.
        InvalidOptionError: an option of the target that the engine does not know, or more threads than cores.
        MeasurementError: the hardware is not there.
    """
    if target.engine not in _RUNTIMES:
        raise UnknownNameError(f"no engine {target.engine!r}; there is {', '.join(ENGINES)}", value=target.engine)
    from tailor.engines.bench import Bench

    module, name = _RUNTIMES[target.engine]
    runtime = getattr(importlib.import_module(module), name)(target)
    return Bench(runtime)
