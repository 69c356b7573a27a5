"""Tailor against Torch-Pruning 1.6.1: time to trace and cut, and whether what is cut obeys the masked-dense law.

Each tool gets a fresh copy of the same network, builds its graph, and removes the same share of the channels of every
group that it finds, chosen at random. Tailor's time contains its proofs, Torch-Pruning has none.

    python benchmarks/tracing.py [--networks resnet50 densenet201 ...] [--repeats 7]
"""

from __future__ import annotations

import argparse
import copy
import gc
import math
import random
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch_pruning
import torchvision
from torch import nn

import tailor.channels
from environment import collect, markdown_table, write_results
from law import exactness
from random_cut import random_plan
from tailor.records import Interval
from tailor.timing import median_interval, ratio_interval

NETWORKS = ("resnet50", "densenet201", "mobilenet_v3_large", "efficientnet_b0", "vgg16")
SHARE = 0.3
GOALS = {"densenet201": 20.0, "median": 3.0}

Tool = Callable[[nn.Module, torch.Tensor, int], nn.Module]


def network(name: str) -> nn.Module:
    """A torchvision network with random weights, the same ones each time."""
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None).eval()


def with_tailor(model: nn.Module, inputs: torch.Tensor, seed: int) -> nn.Module:
    """Trace and cut with Tailor, all groups checked and the cut proven."""
    graph = tailor.channels.trace(model, inputs)
    return tailor.channels.cut(model, graph, random_plan(graph, SHARE, seed), inputs)


def with_torch_pruning(model: nn.Module, inputs: torch.Tensor, seed: int) -> nn.Module:
    """Build the dependency graph and prune in place with Torch-Pruning; its users name the classifier themselves."""
    torch.manual_seed(seed)
    classifier = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    pruner = torch_pruning.pruner.BasePruner(
        model,
        inputs,
        importance=torch_pruning.importance.RandomImportance(),
        pruning_ratio=SHARE,
        ignored_layers=[classifier],
    )
    pruner.step()
    return model


TOOLS: Mapping[str, Tool] = {"tailor": with_tailor, "torch-pruning": with_torch_pruning}


def timed(model: nn.Module, inputs: torch.Tensor, repeats: int) -> dict[str, list[int]]:
    """Nanoseconds per tool and round; the order in a round is shuffled, copying the model is not timed."""
    samples: dict[str, list[int]] = {name: [] for name in TOOLS}
    shuffler = random.Random(0)
    for number in range(-1, repeats):  # round -1 warms up
        for name in shuffler.sample(list(TOOLS), len(TOOLS)):
            fresh = copy.deepcopy(model)
            gc.collect()
            started = time.perf_counter_ns()
            TOOLS[name](fresh, inputs, max(number, 0))
            elapsed = time.perf_counter_ns() - started
            if number >= 0:
                samples[name].append(elapsed)
    return samples


def examined(name: str, repeats: int) -> dict[str, Any]:
    """All that is reported of one network."""
    model, inputs = network(name), torch.randn(1, 3, 224, 224)
    double = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    samples = timed(model, inputs, repeats)
    graph = tailor.channels.trace(model, inputs)
    plan = random_plan(graph, SHARE, 0)
    rebuilt = []
    for _ in range(repeats):
        started = time.perf_counter_ns()
        tailor.channels.build(model, graph, plan)
        rebuilt.append(time.perf_counter_ns() - started)
    return {
        "samples_ns": {**samples, "tailor build": rebuilt},
        "speedup": interval_record(ratio_interval(samples["torch-pruning"], samples["tailor"])),
        "parameters": {"dense": parameters(model)}
        | {tool: parameters(cut(copy.deepcopy(model), inputs, 0)) for tool, cut in TOOLS.items()},
        "exactness": {tool: exactness(model, lambda m, cut=cut: cut(m, double, 0)) for tool, cut in TOOLS.items()},
        "groups": {"prunable": len(graph.prunable), "pinned": {g.name: g.pinned for g in graph.pinned}},
    }


def parameters(model: nn.Module) -> int:
    """Scalars in all parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def interval_record(interval: Interval) -> dict[str, float]:
    """An interval as plain numbers."""
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def tables(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Times and exactness, a row per network."""
    times = []
    for name, result in results.items():
        cells = [_seconds(result["samples_ns"][tool]) for tool in ("tailor", "torch-pruning", "tailor build")]
        speedup = result["speedup"]
        times.append((name, *cells, f"{speedup['value']:.1f} ({speedup['low']:.1f} to {speedup['high']:.1f})"))
    median = float(np.median([result["speedup"]["value"] for result in results.values()]))
    laws = []
    for name, result in results.items():
        for tool in TOOLS:
            kept = result["parameters"][tool] / result["parameters"]["dense"]
            law = result["exactness"][tool]
            numbers = (f"{law['difference']:.1e}", f"{law['spoiled']:.1e}")
            laws.append((name, tool, f"{kept:.1%}", law["verdict"], *numbers))
    return [
        "Seconds to trace and cut (median, 95 % interval), Tailor's with all its proofs; `build` is one more candidate "
        "from the same graph. Torch-Pruning has to build its graph again for each.",
        markdown_table(("network", "Tailor", "Torch-Pruning", "Tailor, build", "times faster"), times),
        f"Median over networks: {median:.1f} times faster.",
        "Exactness: the cut network against the dense one whose consumers ignore the removed channels, in double "
        "precision with random BatchNorm statistics, as a share of the largest output. `spoiled` is the same number "
        "with one kept channel taken for its neighbour: what an error looks like here.",
        markdown_table(("network", "tool", "parameters left", "law", "difference", "spoiled"), laws),
    ]


def goals_met(results: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether Tailor is exact everywhere and as much faster as it means to be."""
    speedups = {name: result["speedup"]["value"] for name, result in results.items()}
    exact = all(result["exactness"]["tailor"]["verdict"] == "holds" for result in results.values())
    dense = speedups.get("densenet201", math.inf) >= GOALS["densenet201"]
    return exact and dense and float(np.median(list(speedups.values()))) >= GOALS["median"]


def _seconds(samples: list[int]) -> str:
    interval = median_interval([ns / 1e9 for ns in samples])
    return f"{interval.value:.3g} ({interval.low:.3g} to {interval.high:.3g})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--repeats", type=int, default=7, help="interleaved repeats; 6 or more give a 95 %% interval")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--name", default="tracing", help="file name of the results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    report: dict[str, Any] = {"environment": collect("torch-pruning", "torchvision", "numpy"), "networks": {}}
    for name in options.networks:
        print(f"{name} ...", file=sys.stderr, flush=True)
        report["networks"][name] = examined(name, options.repeats)
    command = f"python benchmarks/tracing.py --repeats {options.repeats} --threads {options.threads}"
    found = tables(report["networks"])
    path = write_results(options.name, report, title="Tracing and cutting", tables=found, command=command)
    print("\n\n".join(found), path, sep="\n\n")
    return 0 if goals_met(report["networks"]) else 1


if __name__ == "__main__":
    sys.exit(main())
