"""How many calls a network needs, after another one has run, until it runs at its own pace again.

    python benchmarks/settling.py [--model torchvision/resnet18]

The dense network empties the caches; then a narrow one is called 24 times, each call timed. Forty times over; the
medians show how long timing must wait before it takes a sample (`TimingSettings.prime_seconds`).
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

import tailor
from environment import collect, markdown_table, write_results
from tailor.engines import open_device
from tailor.models import input_shape
from tailor.profiling.networks import NetworkTimer
from tailor.spec import Target

CALLS, REPETITIONS = 24, 40
SHARES = (0.15, 0.3, 0.5)
SHOWN = (1, 2, 3, 4, 6, 8, 12, 16)


def main() -> None:
    """Time the calls after the dense network on every engine of a plain CPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="torchvision/resnet18")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = tailor.load_model(arguments.model).eval()
    example = torch.randn(1, *input_shape(arguments.model, model))
    graph = tailor.trace(model, example)
    environment = collect("onnxruntime", "openvino")
    found: dict[str, list[float]] = {}
    for engine in ("torch", "onnxruntime", "openvino"):
        bench = open_device(Target(engine=engine))
        timer = NetworkTimer(model=model, graph=graph, example_inputs=example, batch_size=1, device=bench)
        with bench.opened():
            dense = bench.prepared(timer.subject(graph.dense_widths))
            for share in SHARES:
                widths = {group.name: max(group.smallest, round(share * group.width)) for group in graph.prunable}
                narrow = bench.prepared(timer.subject(graph.dense_widths.but(widths)))
                rows = []
                for _ in range(REPETITIONS):
                    dense.call()
                    rows.append([_timed(narrow.call) for _ in range(CALLS)])
                found[f"{engine}, {share:.0%} of the channels"] = [
                    statistics.median(column) for column in zip(*rows, strict=True)
                ]
    table = markdown_table(
        ("engine and network", *(f"call {number}" for number in SHOWN), "settled us"),
        [
            (name, *(f"{calls[number - 1] / _settled(calls):.2f}" for number in SHOWN), f"{_settled(calls) / 1e3:.0f}")
            for name, calls in found.items()
        ],
    )
    write_results(
        "settling",
        {"environment": environment, "model": arguments.model, "calls_ns": found},
        title=f"Calls of narrowed {arguments.model} right after the dense one, over the settled latency",
        tables=[table],
        command="python benchmarks/settling.py",
    )
    print(table)


def _timed(call: object) -> int:
    started = time.perf_counter_ns()
    call()  # type: ignore[operator]
    return time.perf_counter_ns() - started


def _settled(calls: list[float]) -> float:
    return statistics.median(calls[-6:])


if __name__ == "__main__":
    main()
