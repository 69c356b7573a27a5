"""What a removed residual branch still costs: the cut network against one written by hand without these branches.

    python benchmarks/removed_branches.py [--engines torch,onnxruntime,openvino]

Every second branch of ResNet-20, ResNet-18 (both for 32 x 32) and MobileNetV2 (64 x 64) is removed at batch 1. The
hand-written network has blocks in their place that compute the shortcut and the last activation alone. Also printed:
the graph that ONNX runtimes get, by kind of node.
"""

from __future__ import annotations

import argparse
import collections
import copy
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import torch
import torchvision
from torch import Tensor, nn

from environment import collect, markdown_table, write_results
from tailor.channels import cut, full_plan, trace
from tailor.engines.onnx_export import export_onnx
from tailor.measuring import measure
from tailor.models import load_model
from tailor.spec import ChannelGraph, KeepPlan, Target
from tailor.timing import settings_named


class ShortcutOnly(nn.Module):
    """A block without its branch: the shortcut, and what follows the addition."""

    def __init__(self, shortcut: Callable[[Tensor], Tensor], last: nn.Module) -> None:
        super().__init__()
        self.shortcut, self.last = shortcut, last

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.shortcut(x))
        return out


def shortcut_of(block: nn.Module) -> tuple[Callable[[Tensor], Tensor], nn.Module]:
    """What is left of a block, by hand."""
    kind = type(block).__name__
    if kind == "PaddedBlock":
        twin = copy.deepcopy(block)
        return twin._shortcut, nn.ReLU()
    if kind == "ProjectionBlock":
        return copy.deepcopy(block.shortcut), nn.ReLU()
    return nn.Identity(), nn.Identity()  # an inverted residual ends with its addition


NETWORKS = {
    "ResNet-20": (lambda: load_model("tailor/resnet20-cifar10"), 32),
    "ResNet-18": (lambda: load_model("tailor/resnet18-cifar10"), 32),
    "MobileNetV2": (torchvision.models.mobilenet_v2, 64),
}


def by_hand(model: nn.Module, graph: ChannelGraph, plan: KeepPlan) -> nn.Module:
    """The dense network with the removed blocks replaced."""
    small = copy.deepcopy(model)
    for branch in graph.gone(plan.widths):
        parent, _, name = branch.name.rpartition(".")
        holder = small.get_submodule(parent)
        holder._modules[name] = ShortcutOnly(*shortcut_of(small.get_submodule(branch.name)))
    return small.eval()


def nodes(model: nn.Module, x: Tensor) -> dict[str, int]:
    """How many nodes of each kind the exported graph has."""
    graph = onnx.load_model_from_string(export_onnx(model, (x,), engine="onnxruntime").data).graph
    return dict(sorted(collections.Counter(node.op_type for node in graph.node).items()))


def main() -> None:
    """Measure all networks on all engines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", default="torch,onnxruntime,openvino")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows, report = [], []
    facts = collect("onnxruntime", "openvino", "onnx", "torchvision")
    for name, (maker, size) in NETWORKS.items():
        torch.manual_seed(0)
        model, x = maker().eval(), torch.randn(1, 3, size, size)
        graph = trace(model, x, depth=True)
        lost = {group: () for branch in graph.removable[1::2] for group in branch.groups}
        plan = KeepPlan(fingerprint=graph.fingerprint, kept={**full_plan(graph).kept, **lost})
        small, hand = cut(model, graph, plan), by_hand(model, graph, plan)
        torch.testing.assert_close(small(x), hand(x))
        kinds = nodes(small, x)
        print(name, "nodes of the exported graph", kinds, "by hand", nodes(hand, x), flush=True)
        for engine in options.engines.split(","):
            target = Target(engine=engine, threads=1, batch_size=1)
            settings = settings_named("default")
            dense = measure(small, x, target, settings=settings, versus=model)
            written = measure(small, x, target, settings=settings, versus=hand)
            report.append(
                {
                    "network": name, "engine": engine, "removed": len(graph.gone(plan.widths)),
                    "branches": len(graph.branches), "dense_ms": dense.versus_latency.value / 1e6,
                    "cut_ms": dense.latency.value / 1e6, "ratio": dense.ratio.value,
                    "against_hand": written.ratio.value, "against_hand_low": written.ratio.low,
                    "against_hand_high": written.ratio.high, "nodes": kinds,
                }
            )
            rows.append(
                (
                    name, engine, f"{len(graph.gone(plan.widths))} of {len(graph.branches)}",
                    f"{dense.versus_latency.value / 1e6:.3f}", f"{dense.ratio.value:.1%}",
                    f"{written.ratio.value:.1%} ({written.ratio.low:.1%} to {written.ratio.high:.1%})",
                )
            )
            print(*rows[-1], flush=True)
    header = ("network", "engine", "branches removed", "dense, ms", "cut over dense", "cut over one written by hand")
    table = markdown_table(header, rows)
    path = write_results(
        "removed_branches", {"environment": facts, "rows": report}, title="Removed residual branches", tables=[table],
        command=shlex.join(["python", f"benchmarks/{Path(__file__).name}", *sys.argv[1:]]),
    )
    print(path)


if __name__ == "__main__":
    main()
