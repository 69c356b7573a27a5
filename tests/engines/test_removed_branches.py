"""What runtimes get of a removed branch: no node at all, neither layers nor the addition nor a zero."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torchvision
from torch import nn

from tailor.channels import cut, full_plan, trace
from tailor.engines.onnx_export import export_onnx
from tailor.models import load_model
from tailor.spec import KeepPlan

torch.set_num_threads(1)

NETWORKS = {
    "padded shortcuts": lambda: load_model("tailor/resnet20-cifar10"),
    "inverted residuals": lambda: torchvision.models.mobilenet_v2(num_classes=4, width_mult=0.35),
}


def without_branches(model: nn.Module, x: torch.Tensor) -> tuple[nn.Module, int]:
    graph = trace(model, x, depth=True)
    lost = {group: () for branch in graph.removable for group in branch.groups}
    plan = KeepPlan(fingerprint=graph.fingerprint, kept={**full_plan(graph).kept, **lost})
    return cut(model, graph, plan), len(graph.removable)


def kinds(model: nn.Module, x: torch.Tensor) -> Counter[str]:
    written = export_onnx(model, (x,), engine="onnxruntime")
    return Counter(node.op_type for node in onnx.load_model_from_string(written.data).graph.node)


@pytest.mark.parametrize("name", NETWORKS)
def test_no_node_is_left_of_a_removed_branch(name: str) -> None:
    torch.manual_seed(0)
    model, x = NETWORKS[name]().eval(), torch.randn(1, 3, 32, 32)
    small, removed = without_branches(model, x)
    before, after = kinds(model, x), kinds(small, x)
    assert before["Add"] == removed
    assert after["Add"] == 0
    assert after["Conv"] == sum(isinstance(module, nn.Conv2d) for module in small.modules())
    assert all(after[kind] <= before[kind] for kind in after)  # neither zeros nor copies in their place
    assert not {"Expand", "Identity"}.intersection(after)
    written = export_onnx(small, (x,), engine="onnxruntime")
    session = onnxruntime.InferenceSession(written.data, providers=["CPUExecutionProvider"])
    out = session.run(None, {key: tensor.numpy() for key, tensor in written.feeds.items()})[0]
    with torch.no_grad():
        np.testing.assert_allclose(out, small(x).numpy(), rtol=1e-3, atol=1e-4)


def test_an_exported_program_holds_nothing_of_it_either() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 3, 16, 16)
    small, _ = without_branches(NETWORKS["padded shortcuts"]().eval(), x)
    program = torch.export.export(small, (x,))
    assert "aten.add" not in str(program.graph)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x), small(x))
