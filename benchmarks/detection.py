"""Detectors cut to 60 % of their latency without data: reached as measured, and exact by a law outside Tailor.

    python benchmarks/detection.py [--detectors ssd300_vgg16,retinanet_resnet50_fpn] [--method sp-lamp]

torchvision's detectors with random weights, eager PyTorch on one CPU thread, batch 1; RetinaNet and Faster R-CNN on
images of 320 pixels. No images are needed: structures are ranked by the importance that they keep. A detector's last
stages run once per region that its first ones propose, so the random networks are given what a trained one has:
BatchNorm statistics of their own activations, and box deltas near zero (`settled`). Reached is what a fresh process
says of the saved network. The law compares it with the dense network whose consumers ignore the removed
channels, in double precision (see law.py).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

import tailor
from environment import RESULTS, collect, markdown_table, write_results
from law import exactness
from tailor.channels import build
from tailor.console import ConsoleReporter
from tailor.errors import TailorError
from tailor.pipeline import PruneRequest, prune
from tailor.records import Budget
from tailor.spec import Target
from tailor.training import recipe_named

BUDGET = "60%"
HEADER = ("detector", "method", "verdict", "latency over dense", "dense, ms", "MACs", "parameters", "law", "seconds")
_SMALL = {"weights": None, "weights_backbone": None, "min_size": 320, "max_size": 320}
DETECTORS: Mapping[str, tuple[Callable[[], nn.Module], int]] = {
    "ssd300_vgg16": (lambda: torchvision.models.detection.ssd300_vgg16(weights=None, weights_backbone=None), 300),
    "retinanet_resnet50_fpn": (lambda: torchvision.models.detection.retinanet_resnet50_fpn(**_SMALL), 320),
    "fasterrcnn_resnet50_fpn": (lambda: torchvision.models.detection.fasterrcnn_resnet50_fpn(**_SMALL), 320),
}


def settled(model: nn.Module, size: int) -> nn.Module:
    """Random weights whose activations do not explode and whose proposals stay near their anchors, as many as usual."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the mean over all batches that follow
    model.backbone.train()
    with torch.no_grad():
        model.backbone(torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(1)))
        if hasattr(model, "rpn"):
            for parameter in model.rpn.head.bbox_pred.parameters():
                parameter.mul_(0.01)
    return model.eval()


def pruned(name: str, method: str, networks: int, place: Path) -> dict[str, Any]:
    """One detector through the whole line, and its cut under the law."""
    maker, size = DETECTORS[name]
    torch.manual_seed(0)
    model, example = settled(maker(), size), torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    started = time.perf_counter()
    folder = place / name
    request = PruneRequest(
        model=model,
        example_inputs=example,
        target=Target(threads=1),
        budget=Budget.parse(BUDGET),
        recipe=recipe_named("none"),
        method=method,
        networks=networks,
        out=folder,
        resume=folder.exists(),
        database=place / "measurements.sqlite",
    )
    with ConsoleReporter() as console:
        result = prune(request, console=console)
    seconds = time.perf_counter() - started
    graph = tailor.trace(model, example)
    law = exactness(model, lambda m: build(m, graph, result.keep), (example,))
    verdict, reductions = result.verdict, result.reductions
    return {
        "method": method,
        "outcome": verdict.outcome.value,
        "ratio": [verdict.ratio.value, verdict.ratio.low, verdict.ratio.high],
        "dense_ms": verdict.dense.value / 1e6,
        "macs": list(reductions.macs),
        "parameters": list(reductions.parameters),
        "prunable": len(graph.prunable),
        "groups": len(graph.groups),
        "law": law,
        "seconds": seconds,
    }


def main() -> None:
    """Prune the detectors one after the other; one that fails does not stop the next, and results of others stay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detectors", default=",".join(DETECTORS))
    parser.add_argument("--method", default="sp-lamp")
    parser.add_argument("--networks", type=int, default=60)
    parser.add_argument("--runs", type=Path, default=Path("runs/detection"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / "detection.json"
    found = json.loads(path.read_text(encoding="utf-8"))["detectors"] if path.exists() else {}
    facts = collect("torchvision")
    for name in options.detectors.split(","):
        try:
            found[name] = pruned(name, options.method, options.networks, options.runs)
        except TailorError as error:
            found[name] = {"outcome": "ERROR", "reason": str(error), "method": options.method}
        found[name] |= {"environment": facts}
        print(*cells(name, found[name]), flush=True)
        known = {each: found[each] for each in DETECTORS if each in found}
        rows = [cells(each, row) for each, row in known.items()]
        write_results(
            "detection",
            {"environment": facts, "budget": BUDGET, "detectors": known},
            title=f"Detectors cut to {BUDGET} of their latency without data",
            tables=[markdown_table(HEADER, rows)],
            command="python benchmarks/detection.py",
        )
    print(path.with_suffix(".md"))


def cells(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    """One line of the table; of a detector that failed, why."""
    if row["outcome"] == "ERROR":
        return name, row["method"], "ERROR", row["reason"], *[""] * 5
    value, low, high = row["ratio"]
    return (
        name, row["method"], row["outcome"], f"{value:.1%} ({low:.1%} to {high:.1%})", f"{row['dense_ms']:.0f}",
        f"{row['macs'][1] / row['macs'][0]:.0%}", f"{row['parameters'][1] / row['parameters'][0]:.0%}",
        f"{row['law']['verdict']} ({row['law']['difference']:.0e}; spoiled {row['law']['spoiled']:.0e})",
        f"{row['seconds']:.0f}",
    )


if __name__ == "__main__":
    main()
