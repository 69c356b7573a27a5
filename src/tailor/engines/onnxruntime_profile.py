"""Reads what each node took from a profile that ONNX Runtime wrote."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tailor.engines.onnx_names import NodeOwners
from tailor.engines.runtime import middle_mean, settle
from tailor.records import NodeTime

__all__ = ["node_times", "profiled_nodes"]

_FLOATS = ("Conv", "FusedConv", "NhwcFusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul")
_WEIGHTED = frozenset([*_FLOATS, "QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat"])
# What the optimiser appends to the name of a node, or of the tensor that left it, when it writes a new node.
_MARKS = ("_nchwc", "_nhwc", "_token_", "_quant", "/MatMulAddFusion", "/MatMulScaleFusion")


def profiled_nodes(
    options: Any,
    open_session: Callable[[Any], Any],
    bound_call: Callable[[Any], Callable[[], object]],
    owners: NodeOwners,
    calls: int,
) -> tuple[NodeTime, ...]:
    """Opens a session that keeps a profile in a temporary folder, calls it, and reads the profile."""
    with tempfile.TemporaryDirectory(prefix="tailor-") as folder:
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = open_session(options)
        call = bound_call(session)
        settle(call)
        for _ in range(calls):
            call()
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return node_times(events, owners, calls)


def node_times(events: Sequence[Mapping[str, Any]], owners: NodeOwners, calls: int) -> tuple[NodeTime, ...]:
    """Mean ns of each node over the middle half of its last `calls` durations, which the profile gives in whole us.

    The middle half: one call that the system interrupted would outweigh a node of some us.
    """
    spent: dict[str, list[int]] = defaultdict(list)
    kinds: dict[str, str] = {}
    for event in events:
        node = str(event["name"]).removesuffix("_kernel_time")
        if event.get("cat") == "Node" and node != event["name"]:
            spent[node].append(int(event["dur"]))
            kinds[node] = str(event["args"]["op_name"])
    return tuple(
        NodeTime(
            name=node,
            layer=_layer(node, kinds[node], owners),
            kind=kinds[node],
            kernel=f"{kinds[node]} NCHWc" if "_nchwc" in node else kinds[node],
            ns=1000 * middle_mean(durations[-calls:]),
        )
        for node, durations in spent.items()
    )


def _layer(node: str, kind: str, owners: NodeOwners) -> str | None:
    """A node bears its own name, or that of the tensor that left it before it was blocked or fused."""
    if kind not in _WEIGHTED:
        return None
    return owners.of_node(node, _MARKS) or owners.of_tensor(node, _MARKS)
