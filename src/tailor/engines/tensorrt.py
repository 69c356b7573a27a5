"""TensorRT on a CUDA device, through its Python package (API of release 10)."""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tailor.engines.onnx_export import OnnxNetwork, export_onnx
from tailor.engines.onnx_names import NodeOwners
from tailor.engines.onnx_options import check_options
from tailor.engines.optional import required
from tailor.engines.quantise import quantised
from tailor.engines.runtime import SUBJECT_ERRORS, Prepared
from tailor.engines.torch_state import device_named, torch_facts
from tailor.engines.torch_threads import torch_threads
from tailor.errors import MeasurementError
from tailor.records import NodeTime
from tailor.spec import Target

__all__ = ["TensorRt"]

_PRECISIONS = ("fp32", "tf32", "fp16", "int8")
# DataType's name in TensorRT -> torch's type of the tensor that holds it.
_TYPES = {
    "FLOAT": torch.float32,
    "HALF": torch.float16,
    "BF16": torch.bfloat16,
    "INT64": torch.int64,
    "INT32": torch.int32,
    "INT8": torch.int8,
    "UINT8": torch.uint8,
    "BOOL": torch.bool,
}


class TensorRt:
    """A Runtime: one engine per subject, built with the number formats that stand in the graph (strongly typed)."""

    recover = SUBJECT_ERRORS

    def __init__(self, target: Target) -> None:
        """Check the target against this machine.

        Raises:
            InvalidOptionError: a device, precision or layout that the engine does not know.
            MissingDependencyError: the package tensorrt is not installed.
            MeasurementError: torch sees no such CUDA device.
        """
        check_options(target, {"cuda": _PRECISIONS})
        self._library = required("tensorrt", engine=target.engine, extra="tensorrt")
        self.target = target
        self._device = device_named(target.device)
        self._log = _error_log(self._library)

    def facts(self) -> Mapping[str, str]:
        """The library's version and those of CUDA."""
        return {"tensorrt": str(self._library.__version__), "typing": "strong", **torch_facts(self._device)}

    @contextmanager
    def session(self) -> Iterator[None]:
        """The device is current, and torch keeps to the target's threads; put back afterwards."""
        with torch_threads(self.target.threads), torch.cuda.device(self._device):
            yield

    def prepare(self, module: nn.Module, inputs: tuple[Any, ...]) -> Prepared:
        """An engine built from the exported graph, with its inputs and outputs in torch's memory."""
        dtype = torch.float16 if self.target.precision == "fp16" else torch.float32
        network = export_onnx(module, inputs, engine=self.target.engine, dtype=dtype)
        if self.target.precision == "int8":
            network = quantised(network, engine=self.target.engine, symmetric=True)
        engine = self._built(network.data)
        bound = self._bound(engine, network)
        return Prepared(
            call=bound.call,
            outputs=bound.outputs,
            layers=functools.partial(self._node_times, engine, network),
        )

    def sync(self) -> None:
        """Wait for the device."""
        torch.cuda.synchronize(self._device)

    def _built(self, data: bytes) -> Any:
        """The engine.

        Raises:
            MeasurementError: TensorRT refuses an operator, by name, or cannot build.
        """
        library = self._library
        self._log.messages.clear()
        builder = library.Builder(self._log)
        network = builder.create_network(1 << int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = library.OnnxParser(network, self._log)
        if not parser.parse(data):
            errors = [parser.get_error(index) for index in range(parser.num_errors)]
            reasons = [f"{error.node_operator()}: {error.desc()}" for error in errors]
            raise MeasurementError(f"TensorRT cannot read the network: {'; '.join(reasons)}", value=reasons)
        plan = builder.build_serialized_network(network, self._configured(builder))
        if plan is None:
            raise MeasurementError(f"TensorRT cannot build the network: {self._log.last()}", value=self.target)
        engine = library.Runtime(self._log).deserialize_cuda_engine(plan)
        if engine is None:
            raise MeasurementError(f"TensorRT cannot load what it built: {self._log.last()}", value=self.target)
        return engine

    def _configured(self, builder: Any) -> Any:
        config = builder.create_builder_config()
        config.profiling_verbosity = self._library.ProfilingVerbosity.DETAILED  # names of layers and their kernels
        allow = config.set_flag if self.target.precision == "tf32" else config.clear_flag
        allow(self._library.BuilderFlag.TF32)  # which TensorRT allows by default
        return config

    def _bound(self, engine: Any, network: OnnxNetwork) -> _Bound:
        return _Bound(engine, network.feeds, self._device, self._library)

    def _node_times(self, engine: Any, network: OnnxNetwork, calls: int) -> tuple[NodeTime, ...]:
        """Mean ns of each layer of the engine by its profiler, in a second context, which waits for every layer."""
        bound = self._bound(engine, network)
        spent = bound.profiled(calls)
        kernels = bound.kernels()
        return tuple(
            NodeTime(
                name=name,
                layer=_layer(name, network.owners),
                kind=kernels.get(name, ("", ""))[0],
                kernel=kernels.get(name, ("", ""))[1],
                ns=1e6 * sum(milliseconds) / len(milliseconds),
            )
            for name, milliseconds in spent.items()
        )


class _Bound:
    """An execution context with its tensors in place, so that a call is the enqueueing alone."""

    def __init__(self, engine: Any, feeds: Mapping[str, Tensor], device: torch.device, library: Any) -> None:
        self._engine, self._library, self._device = engine, library, device
        self._context = engine.create_execution_context()
        if self._context is None:
            raise MeasurementError("TensorRT has not enough device memory to run the network")
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._tensors: dict[str, Tensor] = {}  # held, for the engine has their addresses only
        self._outputs: list[Tensor] = []
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            dtype = _TYPES[engine.get_tensor_dtype(name).name]
            if engine.get_tensor_mode(name) == library.TensorIOMode.INPUT:
                self._tensors[name] = feeds[name].to(device, dtype)
            else:
                self._tensors[name] = torch.empty(tuple(engine.get_tensor_shape(name)), dtype=dtype, device=device)
                self._outputs.append(self._tensors[name])
            self._context.set_tensor_address(name, self._tensors[name].data_ptr())
        torch.cuda.synchronize(device)

    def call(self) -> None:
        """Enqueue one run.

        Raises:
            MeasurementError: TensorRT refused.
        """
        if not self._context.execute_async_v3(self._stream.cuda_stream):
            raise MeasurementError("TensorRT could not enqueue the network")

    def outputs(self) -> list[Tensor]:
        """Run once and copy the results to the CPU, in the graph's order."""
        self.call()
        torch.cuda.synchronize(self._device)
        return [tensor.cpu() for tensor in self._outputs]

    def profiled(self, calls: int) -> Mapping[str, list[float]]:
        """Milliseconds of each of the engine's layers in each of so many runs."""
        self.outputs()
        profiler = _profiler(self._library)
        self._context.profiler = profiler
        for _ in range(calls):
            self.outputs()
        taken: Mapping[str, list[float]] = profiler.taken
        return taken

    def kernels(self) -> Mapping[str, tuple[str, str]]:
        """Kind and tactic of each of the engine's layers, by its inspector."""
        inspector = self._engine.create_engine_inspector()
        told = json.loads(inspector.get_engine_information(self._library.LayerInformationFormat.JSON))
        layers = [layer for layer in told.get("Layers", []) if isinstance(layer, dict)]
        return {layer["Name"]: (layer.get("LayerType", ""), layer.get("TacticName", "")) for layer in layers}


def _profiler(library: Any) -> Any:
    class Profiler(library.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            library.IProfiler.__init__(self)
            self.taken: dict[str, list[float]] = defaultdict(list)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.taken[layer_name].append(ms)

    return Profiler()


def _error_log(library: Any) -> Any:
    """A logger that keeps errors for the message of what they cause, and prints nothing."""

    class Log(library.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            library.ILogger.__init__(self)
            self.messages: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (library.ILogger.Severity.ERROR, library.ILogger.Severity.INTERNAL_ERROR):
                self.messages.append(message)

        def last(self) -> str:
            return self.messages[-1] if self.messages else "it does not say why"

    return Log()


def _layer(name: str, owners: NodeOwners) -> str | None:
    """A layer is called after the nodes it was made of, joined by plus signs."""
    return next(filter(None, (owners.of_node(part.strip()) for part in name.split("+"))), None)
