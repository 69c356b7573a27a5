"""ONNX Runtime on the CPU, and its CUDA and TensorRT providers where they are present."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tailor.engines.onnx_export import OnnxNetwork, export_onnx
from tailor.engines.onnx_options import check_options
from tailor.engines.onnxruntime_profile import profiled_nodes
from tailor.engines.optional import required
from tailor.engines.quantise import quantised
from tailor.engines.runtime import SUBJECT_ERRORS, Prepared
from tailor.engines.torch_state import device_named, torch_facts
from tailor.engines.torch_threads import torch_threads
from tailor.errors import InvalidOptionError, MeasurementError
from tailor.records import NodeTime
from tailor.spec import Target

__all__ = ["OnnxRuntime"]

_PROVIDERS = {
    "onnxruntime": {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"},
    "onnxruntime-tensorrt": {"cuda": "TensorrtExecutionProvider"},
}
# fp16 and bf16 on the CPU are left out: ONNX Runtime would convert to fp32 before every operator.
_PRECISIONS = {"cpu": ("fp32", "int8"), "cuda": ("fp32", "tf32", "fp16", "int8")}


class OnnxRuntime:
    """A Runtime: one inference session per subject, its inputs and outputs bound once."""

    def __init__(self, target: Target) -> None:
        """Check the target against this machine and this build of ONNX Runtime.

        Raises:
            InvalidOptionError: a device, precision or layout that the engine does not know.
            MissingDependencyError: the package onnxruntime is not installed.
            MeasurementError: there is no such device, or this build lacks the provider.
        """
        check_options(target, {device: _PRECISIONS[device] for device in _PROVIDERS[target.engine]})
        _check_rounding(target)
        self._library = required("onnxruntime", engine=target.engine, extra="onnxruntime")
        self.target = target
        self._device = device_named(target.device)
        self._provider = _PROVIDERS[target.engine][self._device.type]
        if self._provider not in self._library.get_available_providers():
            raise MeasurementError(
                f"this build of ONNX Runtime has no {self._provider}: "
                "pip uninstall onnxruntime, then pip install onnxruntime-gpu",
                value=self._provider,
            )
        self.recover = (*SUBJECT_ERRORS, *_exceptions(self._library))

    def facts(self) -> Mapping[str, str]:
        """The library's version and the settings of a session."""
        return {
            "onnxruntime": str(self._library.__version__),
            "provider": self._provider,
            "graph_optimization": "all",
            "spinning_threads": "no",
            **(torch_facts(self._device) if self._device.type == "cuda" else {}),
        }

    @contextmanager
    def session(self) -> Iterator[None]:
        """No more threads of torch than the target's, put back afterwards."""
        with torch_threads(self.target.threads):
            yield

    def prepare(self, module: nn.Module, inputs: tuple[Any, ...]) -> Prepared:
        """A session on the exported graph, with tensors bound on the device."""
        dtype = torch.float16 if self.target.precision == "fp16" else torch.float32
        network = export_onnx(module, inputs, engine=self.target.engine, dtype=dtype)
        if self.target.precision == "int8":
            network = quantised(network, engine=self.target.engine, symmetric=self._device.type == "cuda")
        bound = self._bound(self._session(network.data, self._options()), network)
        told = self._device.type == "cpu"  # with CUDA the profile tells what launching took
        layers = functools.partial(self._node_times, network) if told else None
        return Prepared(call=bound.call, outputs=bound.outputs, layers=layers)

    def sync(self) -> None:
        """Nothing to wait for: a run returns when its device has finished."""

    def _options(self) -> Any:
        library = self._library
        options = library.SessionOptions()
        options.intra_op_num_threads = self.target.threads
        options.inter_op_num_threads = 1
        options.execution_mode = library.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = library.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3  # errors
        # idle threads must not disturb the subjects that are timed in between
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if self._device.type == "cuda":
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        return options

    def _session(self, data: bytes, options: Any) -> Any:
        """A session on the provider and no other.

        Raises:
            MeasurementError: the provider did not start; ONNX Runtime would have taken the CPU.
        """
        session = self._library.InferenceSession(data, options, providers=self._provider_options())
        if session.get_providers()[0] != self._provider:
            raise MeasurementError(f"ONNX Runtime could not start {self._provider}", value=session.get_providers())
        return session

    def _provider_options(self) -> list[tuple[str, dict[str, str]]]:
        """The provider with the number formats it may use; what TensorRT leaves is CUDA's."""
        if self._device.type == "cpu":
            return [(self._provider, {})]
        index, precision = str(self._device.index), self.target.precision
        cuda = {"device_id": index, "use_tf32": str(int(precision == "tf32"))}
        if self._provider == "CUDAExecutionProvider":
            return [(self._provider, cuda)]
        formats = {f"trt_{name}_enable": str(int(precision == name)) for name in ("fp16", "int8")}
        return [(self._provider, {"device_id": index, **formats}), ("CUDAExecutionProvider", cuda)]

    def _bound(self, session: Any, network: OnnxNetwork) -> _Bound:
        return _Bound(session, network.feeds, self._device, self._library)

    def _node_times(self, network: OnnxNetwork, calls: int) -> tuple[NodeTime, ...]:
        """What each node took in a second session, which keeps a profile."""
        return profiled_nodes(
            self._options(),
            lambda options: self._session(network.data, options),
            lambda session: self._bound(session, network).call,
            network.owners,
            calls,
        )


class _Bound:
    """A session with its tensors in place, so that a call is the run alone."""

    def __init__(self, session: Any, feeds: Mapping[str, Tensor], device: torch.device, library: Any) -> None:
        binding = session.io_binding()
        where = (device.type, device.index or 0)
        for name, tensor in feeds.items():
            binding.bind_ortvalue_input(name, library.OrtValue.ortvalue_from_numpy(tensor.numpy(), *where))
        names = [output.name for output in session.get_outputs()]
        for name in names:
            binding.bind_output(name, *where)
        session.run_with_iobinding(binding)
        self._results = binding.get_outputs()  # bound below, so that no call has to allocate them
        for name, value in zip(names, self._results, strict=True):
            binding.bind_ortvalue_output(name, value)
        self.call = functools.partial(session.run_with_iobinding, binding)

    def outputs(self) -> list[Tensor]:
        """Run once and copy the results to the CPU."""
        self.call()
        return [torch.from_numpy(value.numpy().copy()) for value in self._results]


def _check_rounding(target: Target) -> None:
    exact = target.engine == "onnxruntime-tensorrt" and target.precision == "fp32"
    if exact and os.environ.get("NVIDIA_TF32_OVERRIDE") != "0":
        raise InvalidOptionError(
            "ONNX Runtime cannot keep TensorRT from TF32; use --precision tf32, or set NVIDIA_TF32_OVERRIDE=0",
            value=target.precision,
        )


def _exceptions(library: Any) -> tuple[type[Exception], ...]:
    """ONNX Runtime's own, which derive from Exception alone."""
    kinds = vars(library.capi.onnxruntime_pybind11_state).values()
    return tuple(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception))
