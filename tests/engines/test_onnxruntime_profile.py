"""A profile's events become node times: durations planted in, means and owners out."""

from __future__ import annotations

from collections.abc import Sequence

from tailor.engines.onnx_names import NodeOwners
from tailor.engines.onnxruntime_profile import node_times

OWNERS = NodeOwners(nodes={"conv1": "conv1", "fc": "fc"}, tensors={"/Relu_output": "conv2", "conv1_out": "conv1"})


def events(node: str, kind: str, durations: Sequence[int]) -> list[dict[str, object]]:
    """What ONNX Runtime writes for one node, one entry per call."""
    return [
        {"cat": "Node", "name": f"{node}_kernel_time", "dur": duration, "args": {"op_name": kind}}
        for duration in durations
    ]


def test_interrupted_calls_and_the_first_do_not_count() -> None:
    profile = events("conv1", "Conv", [900, 10, 12, 11, 5000, 13, 11, 12, 9])
    (node,) = node_times(profile, OWNERS, 8)
    assert node.ns == 1000 * (11 + 11 + 12 + 12) / 4
    assert (node.name, node.layer, node.kind, node.kernel) == ("conv1", "conv1", "Conv", "Conv")


def test_one_call_is_its_own_mean() -> None:
    assert node_times(events("conv1", "Conv", [900, 7]), OWNERS, 1)[0].ns == 7000


def test_blocked_fused_and_quantised_nodes_find_their_module() -> None:
    profile = [
        *events("/Relu_output_nchwc", "Conv", [1, 1]),
        *events("conv1_token_12", "QLinearConv", [1, 1]),
        *events("fc/MatMulAddFusion", "Gemm", [1, 1]),
    ]
    nodes = node_times(profile, OWNERS, 1)
    assert [node.layer for node in nodes] == ["conv2", "conv1", "fc"]
    assert [node.kernel for node in nodes] == ["Conv NCHWc", "QLinearConv", "Gemm"]


def test_nodes_without_weights_belong_to_nobody_and_other_events_are_no_nodes() -> None:
    profile = [
        *events("/Relu_output", "Relu", [1, 1]),
        *events("conv1_out_nchwc", "MaxPool", [1, 1]),
        {"cat": "Session", "name": "model_run", "dur": 5, "args": {}},
        {"cat": "Node", "name": "conv1_fence_before", "dur": 5, "args": {"op_name": "Conv"}},
    ]
    nodes = node_times(profile, OWNERS, 1)
    assert [(node.kind, node.layer) for node in nodes] == [("Relu", None), ("MaxPool", None)]
