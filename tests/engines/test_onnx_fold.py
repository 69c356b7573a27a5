"""Folding BatchNorm changes no output, and leaves what something else still needs."""

from __future__ import annotations

import io
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx_nets import seeded
from torch import Tensor, nn

from tailor.engines.onnx_fold import fold_batch_norm

IMAGE = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
FLAT = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


class ReadTwice(nn.Module):
    """The convolution's own output is part of the result, so that it must stay."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x + self.norm(x)


class SharedWeights(nn.Module):
    """One convolution before two BatchNorms: neither may scale it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.one, self.two = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.conv(self.one(self.conv(x))))


class Chain(nn.Sequential):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)


def written(network: nn.Module, x: Tensor) -> onnx.ModelProto:
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (x,), target, dynamo=False, training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False
        )
    return onnx.load_model_from_string(target.getvalue())


def computed(proto: onnx.ModelProto, x: Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


@pytest.mark.parametrize(
    ("network", "x", "left"),
    [
        (seeded(Chain, nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6, eps=0.1)), IMAGE, 0),
        (seeded(Chain, nn.Conv2d(4, 8, 3, groups=2), nn.BatchNorm2d(8), nn.ReLU()), IMAGE, 0),
        (seeded(Chain, nn.ConvTranspose2d(4, 6, 2), nn.BatchNorm2d(6)), IMAGE, 0),
        (seeded(Chain, nn.ConvTranspose2d(4, 6, 2, groups=2), nn.BatchNorm2d(6)), IMAGE, 1),
        (seeded(Chain, nn.Linear(4, 6), nn.BatchNorm1d(6)), FLAT, 0),
        (seeded(Chain, nn.BatchNorm2d(4), nn.Conv2d(4, 6, 1)), IMAGE, 1),
        (seeded(Chain, nn.Conv2d(4, 6, 1), nn.ReLU(), nn.BatchNorm2d(6)), IMAGE, 1),
        (seeded(ReadTwice), IMAGE, 1),
        (seeded(SharedWeights), IMAGE, 2),
    ],
    ids=["conv", "groups", "deconv", "deconv-groups", "linear", "before", "after-relu", "read-twice", "shared"],
)
def test_outputs_stay_and_so_many_norms_are_left(network: nn.Module, x: Tensor, left: int) -> None:
    proto = written(network, x)
    fold_batch_norm(proto)
    onnx.checker.check_model(proto)
    assert [node.op_type for node in proto.graph.node].count("BatchNormalization") == left
    with torch.no_grad():
        np.testing.assert_allclose(computed(proto, x), network(x).numpy(), rtol=1e-4, atol=1e-5)
    read = {name for node in proto.graph.node for name in node.input}
    assert {tensor.name for tensor in proto.graph.initializer} <= read
