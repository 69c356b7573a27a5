"""The exact solver on networks' own structures: its whole front against HiGHS, and HALP's knapsack against the optimum.

    python benchmarks/solver.py            # about three minutes

Groups, layers and which groups each layer reads are the traced networks', residual streams free, 12 widths per group.
Latency is planted (blocks of 8 to 64 outputs and at most a quarter of them, launch costs, 3 % of jitter that makes it
non-monotone), values are sums of sorted random saliencies; five problems per network. Both solvers get the same
integers.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import tailor
from environment import collect, markdown_table, write_results
from tailor.errors import BudgetUnreachableError
from tailor.latency.factors import factors_of
from tailor.latency.frozen import frozen_factors
from tailor.records import Estimate
from tailor.search.knapsack import knapsack_step
from tailor.solver import WidthProblem, solve_front, solve_milp
from tailor.spec import ChannelGraph, Layer, Widths

COMMAND = "python benchmarks/solver.py"
NETWORKS = (
    ("torchvision/resnet18", 224),
    ("torchvision/mobilenet_v2", 224),
    ("torchvision/resnet50", 224),
    ("tailor/resnet56-cifar10", 32),
    ("tailor/vgg16-cifar10", 32),
)
WIDTHS, PROBLEMS, SHARES = 12, 5, (0.3, 0.5, 0.8)
REPEATS = 3


@dataclass(frozen=True, eq=False)
class PlantedLatency:
    """A sum over the network's layers: launch cost, and work padded to a block of outputs, jittered per width."""

    graph: ChannelGraph
    seed: int

    @property
    def priced_layers(self) -> tuple[Layer, ...]:
        return self.graph.layers

    @property
    def constant_ns(self) -> float:
        return 50_000.0

    def layer_ns(self, index: int, in_channels: int, out_channels: int, around: Widths) -> float:
        layer = self.graph.layers[index]
        block = min((8, 16, 32, 64)[(index + self.seed) % 4], max(1, layer.shape.out_channels // 4))
        padded = -(-out_channels // block) * block
        area = math.prod(layer.shape.output_spatial) * math.prod(layer.shape.kernel) if layer.shape.kernel else 1
        work = padded * (1 if layer.depthwise else in_channels) * area / 40
        jitter = 1 + 0.03 * math.sin(12.9898 * in_channels + 78.233 * out_channels + index + self.seed)
        return layer.calls * (5_000 + work * jitter)

    def predict(self, widths: Widths) -> Estimate:
        total = self.constant_ns + sum(
            self.layer_ns(index, layer.inputs.size(widths), layer.outputs.size(widths), widths)
            for index, layer in enumerate(self.graph.layers)
        )
        return Estimate(ns=round(total), low_ns=round(total), high_ns=round(total), source="fitted")


def planted(graph: ChannelGraph, seed: int) -> tuple[WidthProblem, PlantedLatency]:
    """The problem over all free groups of the network."""
    rng = np.random.default_rng(seed)
    candidates, values = {}, {}
    for group in graph.groups:
        if group.pinned is not None:
            candidates[group.name], values[group.name] = (group.width,), (0.0,)
            continue
        wanted = np.linspace(0.1, 1.0, WIDTHS) * group.width
        widths = {round(width / group.quantum) * group.quantum for width in wanted}
        own = tuple(sorted(width for width in widths if group.allows(width)))
        units = np.sort(rng.exponential(size=group.width))[::-1] * rng.uniform(0.3, 3.0)
        candidates[group.name], values[group.name] = own, tuple(float(units[:width].sum()) for width in own)
    latency = PlantedLatency(graph, seed)
    factors = factors_of(latency, candidates, graph.dense_widths)
    return WidthProblem(candidates=candidates, values=values, factors=factors), latency


def timed(function: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """The answer and the median seconds."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        answer = function()
        seconds.append(time.perf_counter() - started)
    return answer, statistics.median(seconds)


def compared(graph: ChannelGraph, seed: int) -> dict[str, Any]:
    """One problem: the front, HiGHS at three budgets, and both knapsacks on the prices frozen at the dense network."""
    problem, latency = planted(graph, seed)
    front, front_seconds = timed(lambda: solve_front(problem), REPEATS)
    dense_ns = problem.latency_ns(graph.dense_widths)
    highs, differences, shares = [], [], []
    for share in SHARES:
        limit = max(round(share * dense_ns), int(front.latency_ns[0]))
        found, seconds = timed(lambda limit=limit: solve_milp(problem, limit), 1)
        exact = front.best(limit)
        highs.append(seconds)
        differences.append(abs(found.value - exact.value) / abs(exact.value))
        shares.append(limit / dense_ns)
    frozen = frozen_factors(latency, problem.candidates, graph.dense_widths)
    losses = []
    for share in SHARES:
        limit = round(share * dense_ns)
        values = {}
        for solver in ("exact", "heuristic"):
            try:
                widths = knapsack_step(problem.candidates, problem.values, frozen, limit, solver=solver)
            except BudgetUnreachableError:
                break
            values[solver] = problem.value(widths)
        if len(values) == 2:
            losses.append(1 - values["heuristic"] / values["exact"])
    return {
        "groups": len(problem.free),
        "points": len(front),
        "front_seconds": front_seconds,
        "highs_seconds": highs,
        "largest_difference": max(differences),
        "budgets": shares,
        "heuristic_losses": losses,
    }


def main() -> None:
    """Every network, then the table."""
    torch.manual_seed(0)
    rows, report = [], []
    for name, size in NETWORKS:
        graph = tailor.trace(tailor.load_model(name).eval(), torch.randn(1, 3, size, size))
        found = [compared(graph, seed) for seed in range(PROBLEMS)]
        highs = [seconds for each in found for seconds in each["highs_seconds"]]
        fronts = [each["front_seconds"] for each in found]
        losses = [loss for each in found for loss in each["heuristic_losses"]]
        report.append({"network": name, "problems": found})
        rows.append(
            (
                name, found[0]["groups"], f"{statistics.fmean(each['points'] for each in found):.0f}",
                f"{statistics.median(fronts):.2f}", f"{max(fronts):.2f}", f"{statistics.median(highs):.2f}",
                f"{max(highs):.2f}", f"{max(each['largest_difference'] for each in found):.0e}",
                f"{sum(loss > 1e-9 for loss in losses)} of {len(losses)}", f"{statistics.fmean(losses):.1%}",
                f"{max(losses):.1%}",
            )
        )
        print(rows[-1], flush=True)
    header = (
        "network", "free groups", "points of the front", "whole front, s", "slowest", "HiGHS for one budget, s",
        "slowest",
        "largest relative difference of values", "HALP's knapsack below the optimum", "mean loss", "worst loss",
    )
    notes = (
        "HALP's knapsack and the exact one solve the same problem here: one price per group, taken at the dense "
        "network. Its loss is that of the heuristic alone, not that of frozen prices."
    )
    path = write_results(
        "solver", {"environment": collect(), "networks": report}, title="The exact solver",
        tables=[markdown_table(header, rows), notes], command=COMMAND,
    )
    print(path)


if __name__ == "__main__":
    main()
