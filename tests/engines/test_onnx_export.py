"""ONNX graphs carry the paths of modules, normal numbers only, and what both exporters refuse is named."""

from __future__ import annotations

import logging
import warnings

import onnx
import pytest
import torch
from onnx import numpy_helper
from onnx_nets import Branches, Refused, SecondExporterOnly, seeded
from torch import nn

from tailor.engines.onnx_export import export_onnx
from tailor.errors import MeasurementError
from tailor.models.cifar_resnet import CifarResNet

IMAGE = torch.ones(2, 3, 8, 8)


def paths(network: nn.Module) -> set[str]:
    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    return {name for name, part in network.named_modules() if isinstance(part, kinds)}


@pytest.mark.parametrize(
    ("network", "x"),
    [(seeded(Branches), IMAGE), (seeded(CifarResNet, 20), torch.ones(1, 3, 32, 32))],
    ids=["branches", "resnet20"],
)
def test_every_layer_with_weights_is_named_after_its_module(network: nn.Module, x: torch.Tensor) -> None:
    written = export_onnx(network, (x,), engine="onnxruntime")
    nodes = onnx.load_model_from_string(written.data).graph.node
    assert set(written.owners.nodes.values()) == paths(network)
    assert set(written.owners.nodes) <= {node.name for node in nodes}
    assert "BatchNormalization" not in {node.op_type for node in nodes}


def test_a_layer_that_is_called_twice_has_two_nodes() -> None:
    owners = export_onnx(seeded(Branches), (IMAGE,), engine="onnxruntime").owners
    assert [name for name, owner in owners.nodes.items() if owner == "shared"] == ["shared", "shared#2"]


def test_what_has_only_passed_an_activation_still_belongs_to_its_layer() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU6(), nn.MaxPool2d(2), nn.ReLU())
    written = export_onnx(network, (IMAGE,), engine="onnxruntime")
    nodes = {node.op_type: node for node in onnx.load_model_from_string(written.data).graph.node}
    assert written.owners.of_tensor(nodes["Clip"].output[0]) == "0"
    assert written.owners.of_tensor(nodes["MaxPool"].output[0]) is None
    assert written.owners.of_tensor(nodes["Relu"].output[0]) is None
    assert written.owners.of_node("0_token_7", ["_token_"]) == "0"
    assert written.owners.of_node("0_token_7") is None
    assert written.owners.of_node(nodes["Clip"].output[0]) is None


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.one(x) + self.two(x)


def test_where_two_layers_meet_is_nobodys() -> None:
    written = export_onnx(Residual(), (IMAGE,), engine="onnxruntime")
    assert set(written.owners.tensors.values()) == {"one", "two"}
    assert len(written.owners.tensors) == 2


def test_equal_weights_of_two_layers_stay_two_weights() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    network[1].load_state_dict(network[0].state_dict())
    written = export_onnx(network, (IMAGE,), engine="onnxruntime")
    assert {"0", "1"} == set(written.owners.nodes)
    assert {"network.0.weight", "network.1.weight"} <= {
        tensor.name for tensor in onnx.load_model_from_string(written.data).graph.initializer
    }


def test_no_weight_is_denormal_before_or_after_folding_and_the_module_keeps_its_own() -> None:
    conv, norm = nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4).eval()
    nn.init.constant_(conv.weight[:1].data, 1e-40)
    nn.init.constant_(conv.weight[1:2].data, 1e-30)
    nn.init.constant_(norm.weight.data, 1e-10)
    alone = nn.Conv2d(4, 4, 1)
    nn.init.constant_(alone.weight.data, -1e-40)
    written = export_onnx(nn.Sequential(conv, norm, alone), (IMAGE,), engine="onnxruntime")
    values = [numpy_helper.to_array(w) for w in onnx.load_model_from_string(written.data).graph.initializer]
    tiny = torch.finfo(torch.float32).tiny
    assert not any(((abs(v) > 0) & (abs(v) < tiny)).any() for v in values)
    assert any((abs(v) > 0).any() for v in values)
    assert 0 < conv.weight[0, 0, 0, 0].item() < tiny
    assert -tiny < alone.weight[0, 0, 0, 0].item() < 0


def test_half_precision_is_written_when_asked_for() -> None:
    written = export_onnx(seeded(Branches), (IMAGE,), engine="tensorrt", dtype=torch.float16)
    graph = onnx.load_model_from_string(written.data).graph
    assert graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    assert written.feeds["input_0"].dtype == torch.float16


def test_the_second_exporter_takes_over_and_keeps_names(capfd: pytest.CaptureFixture[str]) -> None:
    written = export_onnx(seeded(SecondExporterOnly), (IMAGE,), engine="onnxruntime")
    assert set(written.owners.nodes.values()) == {"conv"}
    assert capfd.readouterr() == ("", "")


def test_what_both_exporters_refuse_is_named_without_noise(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(MeasurementError, match=r"cannot be written as ONNX: operator aten::linalg_eig"):
            export_onnx(Refused(), (IMAGE,), engine="onnxruntime")
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == logging.NOTSET


def test_module_inputs_and_modes_are_left_as_found() -> None:
    network, x = seeded(Branches).train(), IMAGE.clone()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    export_onnx(network, (x,), engine="onnxruntime")
    assert network.training
    assert network.head[1].training
    assert torch.equal(x, IMAGE)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.is_grad_enabled()
