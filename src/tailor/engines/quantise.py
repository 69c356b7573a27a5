"""Static quantisation to INT8, for engines that compute with it: scales and zero points stand in the ONNX graph."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from tailor.engines.onnx_export import OnnxNetwork, quietly
from tailor.engines.optional import required

__all__ = ["quantised"]


def quantised(network: OnnxNetwork, *, engine: str, symmetric: bool) -> OnnxNetwork:
    """The network with QuantizeLinear and DequantizeLinear around its operators, by ONNX Runtime's quantisation.

    Weights get a scale per channel, activations one per tensor from their least and greatest value on the network's own
    inputs: good enough to time, too few samples to judge accuracy by. `symmetric` makes activations signed with zero
    point 0, the only kind that TensorRT takes; otherwise they are unsigned, which CPUs multiply fastest.

    Raises:
        MissingDependencyError: onnxruntime or onnx is not installed.
    """
    import onnx

    library = required("onnxruntime.quantization", engine=engine, extra="onnxruntime")
    kinds = library.QuantType
    with tempfile.TemporaryDirectory(prefix="tailor-") as folder, quietly():
        written = Path(folder) / "int8.onnx"
        library.quantize_static(
            onnx.load_model_from_string(network.data),
            str(written),
            _Samples(network.feeds),
            quant_format=library.QuantFormat.QDQ,
            activation_type=kinds.QInt8 if symmetric else kinds.QUInt8,
            weight_type=kinds.QInt8,
            per_channel=True,
            calibrate_method=library.CalibrationMethod.MinMax,
            calibration_providers=["CPUExecutionProvider"],
            extra_options={"ActivationSymmetric": symmetric, "WeightSymmetric": True, "QuantizeBias": not symmetric},
        )
        return replace(network, data=written.read_bytes())


class _Samples:
    """Hands the quantiser one sample, then None (its CalibrationDataReader)."""

    def __init__(self, feeds: Mapping[str, Tensor]) -> None:
        self._left: list[dict[str, Any]] = [{name: tensor.numpy() for name, tensor in feeds.items()}]

    def get_next(self) -> dict[str, Any] | None:
        return self._left.pop() if self._left else None
