"""OpenVINO on the CPU."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tailor.engines.onnx_export import export_onnx
from tailor.engines.onnx_names import NodeOwners
from tailor.engines.onnx_options import check_options
from tailor.engines.optional import required
from tailor.engines.quantise import quantised
from tailor.engines.runtime import SUBJECT_ERRORS, Prepared, settle
from tailor.engines.torch_threads import torch_threads
from tailor.errors import MeasurementError
from tailor.records import NodeTime
from tailor.spec import Target

__all__ = ["OpenVino"]

# Target's precision -> the engine's hint; "auto" gives none, and the engine takes bf16 where the CPU can. Layers that
# are not quantised compute in fp32.
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32", "auto": None}
_WEIGHTED = ("Convolution", "FullyConnected", "MatMul")  # words in the kinds of nodes with weights
_MARKS = ("/WithoutBiases", "/Dequantization")  # what the engine appends to the name of a node that it rewrites


class OpenVino:
    """A Runtime: one compiled model with one stream per subject."""

    recover = SUBJECT_ERRORS

    def __init__(self, target: Target) -> None:
        """Check the target against this machine.

        Raises:
            InvalidOptionError: a device, precision or layout that the engine does not know.
            MissingDependencyError: the package openvino is not installed.
            MeasurementError: this CPU does not compute in the precision.
        """
        check_options(target, {"cpu": tuple(_HINTS)})
        self._library = required("openvino", engine=target.engine, extra="openvino")
        self.target = target
        self._core = self._library.Core()
        able = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if target.precision in ("bf16", "fp16") and target.precision.upper() not in able:
            raise MeasurementError(
                f"openvino does not compute {target.precision} on this CPU, which can {', '.join(able)}",
                value=target.precision,
            )

    def facts(self) -> Mapping[str, str]:
        """The library's version, the settings of a compiled model, and the number format that really computes."""
        return {
            "openvino": str(self._library.get_version()),
            "executed_precision": self._expected_precision(),
            "performance_hint": "latency",
            "streams": "1",
            "cpu_pinning": "no",
        }

    @contextmanager
    def session(self) -> Iterator[None]:
        """No more threads of torch than the target's, put back afterwards."""
        with torch_threads(self.target.threads):
            yield

    def prepare(self, module: nn.Module, inputs: tuple[Any, ...]) -> Prepared:
        """A model compiled from the exported graph, its inputs set once."""
        network = export_onnx(module, inputs, engine=self.target.engine)
        if self.target.precision == "int8":
            network = quantised(network, engine=self.target.engine, symmetric=False)
        model = self._core.read_model(network.data)
        request = self._request(model, network.feeds, counted=False)
        return Prepared(
            call=request.infer,
            outputs=functools.partial(_outputs, request),
            layers=functools.partial(self._node_times, model, network.feeds, network.owners),
            facts={"executed_precision": _executed_precision(request)},
        )

    def sync(self) -> None:
        """Nothing to wait for: inference returns when it is done."""

    def _request(self, model: Any, feeds: Mapping[str, Tensor], *, counted: bool) -> Any:
        """The model compiled, with its inputs set; `counted` makes it tell what its nodes take.

        Raises:
            MeasurementError: the engine computes in another precision than it was told.
        """
        options: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": self.target.threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
            "PERF_COUNT": counted,
        }
        hint = _HINTS[self.target.precision]
        if hint is not None:
            options["INFERENCE_PRECISION_HINT"] = hint
        compiled = self._core.compile_model(model, "CPU", options)
        request = compiled.create_infer_request()
        if _executed_precision(request) != self._expected_precision():
            raise MeasurementError(
                f"openvino computes {_executed_precision(request)} where {self._expected_precision()} was meant",
                value=self.target.precision,
            )
        for name, tensor in feeds.items():
            request.set_tensor(name, self._library.Tensor(tensor.numpy()))
        return request

    def _expected_precision(self) -> str:
        hint = _HINTS[self.target.precision]
        return hint or str(self._core.get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name())

    def _node_times(
        self, model: Any, feeds: Mapping[str, Tensor], owners: NodeOwners, calls: int
    ) -> tuple[NodeTime, ...]:
        """Mean over so many calls of one more compiled model, which counts.

        The engine counts whole us and tells the mean since the beginning: what came before is taken off again.
        """
        request = self._request(model, feeds, counted=True)
        before = 0

        def infer() -> None:
            nonlocal before
            request.infer()
            before += 1

        settle(infer)
        earlier = {node.node_name: before * node.real_time for node in request.get_profiling_info()}
        for _ in range(calls):
            request.infer()
        parts = request.get_compiled_model().get_runtime_model().get_ops()
        origins = {part.get_friendly_name(): _origins(part) for part in parts}
        found = []
        for node in request.get_profiling_info():
            layer = _layer(origins.get(node.node_name, ()), node.node_type, owners)
            if layer is None and node.status != node.Status.EXECUTED:  # so is what took less than a us on average
                continue
            spent = (before + calls) * node.real_time - earlier[node.node_name]
            ns = max(0.0, 1e9 * spent.total_seconds() / calls)
            found.append(NodeTime(name=node.node_name, layer=layer, kind=node.node_type, kernel=node.exec_type, ns=ns))
        return tuple(found)


def _outputs(request: Any) -> list[Tensor]:
    request.infer()
    return [torch.from_numpy(tensor.data.copy()) for tensor in request.output_tensors]


def _executed_precision(request: Any) -> str:
    return str(request.get_compiled_model().get_property("INFERENCE_PRECISION_HINT").get_type_name())


def _origins(part: Any) -> Sequence[str]:
    """The nodes of the given graph that a node of the running one was made of."""
    info = part.get_rt_info()
    return str(info["originalLayersNames"].value).split(",") if "originalLayersNames" in info else ()


def _layer(origins: Sequence[str], kind: str, owners: NodeOwners) -> str | None:
    """The first layer with weights among the nodes; one that makes an output of the graph bears the output's name."""
    owner = next(filter(None, (owners.of_node(name, _MARKS) for name in origins)), None)
    if owner is not None or not any(word in kind for word in _WEIGHTED):
        return owner
    return next(filter(None, map(owners.of_tensor, origins)), None)
