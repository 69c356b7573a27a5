"""What keeping freed memory changes: page faults and processor time per call of ResNet-56, each in fresh processes.

    python benchmarks/allocator.py [--batch 128] [--processes 3]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import statistics
import subprocess
import sys
import time

import torch

import tailor
from environment import collect, markdown_table, write_results
from tailor.engines.allocator import memory_kept

CALLS = 9


def one_process(batch: int, *, kept: bool) -> dict[str, float]:
    """Medians over calls in this process, after three calls that do not count."""
    torch.set_num_threads(1)
    model, images = tailor.load_model("tailor/resnet56-cifar10"), torch.randn(batch, 3, 32, 32)
    faults, seconds = [], []
    with memory_kept() if kept else contextlib.nullcontext(), torch.inference_mode():
        for _ in range(3 + CALLS):
            before, started = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.process_time()
            model(images)
            seconds.append(time.process_time() - started)
            faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return {"faults": statistics.median(faults[3:]), "ms": 1e3 * statistics.median(seconds[3:])}


def main() -> None:
    """Alternate fresh processes of both kinds and write what they found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--only", choices=("default", "kept"), help="one process, printed as JSON")
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(one_process(arguments.batch, kept=arguments.only == "kept")))
        return
    environment = collect()
    found: dict[str, list[dict[str, float]]] = {"default": [], "kept": []}
    for _ in range(arguments.processes):
        for kind, results in found.items():
            command = [sys.executable, __file__, "--batch", str(arguments.batch), "--only", kind]
            results.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    rows = [
        (kind, *(" ".join(f"{result[what]:.0f}" for result in results) for what in ("faults", "ms")))
        for kind, results in found.items()
    ]
    write_results(
        "allocator",
        {"environment": environment, "batch": arguments.batch, "calls": CALLS, "processes": found},
        title=f"Page faults and processor time per call, ResNet-56 at batch {arguments.batch}",
        tables=[markdown_table(("freed memory", "page faults, one per process", "ms, one per process"), rows)],
        command=f"python benchmarks/allocator.py --batch {arguments.batch}",
    )
    print(markdown_table(("freed memory", "faults", "ms"), rows))


if __name__ == "__main__":
    main()
