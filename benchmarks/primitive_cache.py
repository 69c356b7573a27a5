"""What a session of many networks pays where oneDNN cannot keep all their kernels: eager PyTorch, fresh processes.

    python benchmarks/primitive_cache.py [--networks 40] [--batch 16] [--processes 3]

oneDNN keeps the 1024 primitives that were used last. Processes by turns keep that many, or as many as Tailor asks for.
Each times six narrowed VGG-16s beside the dense one, alone first and then together with many others, in shuffled
rounds, twice by turns; then every network runs once more, and oneDNN tells how many primitives it compiles for that.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import psutil
import torch

import tailor
from environment import collect, markdown_table, write_results
from random_cut import random_networks
from tailor.database import Database
from tailor.engines.onednn import onednn_lines
from tailor.primitive_cache import ENOUGH, VARIABLE
from tailor.profiling.networks import NetworkTimer, TimedNetworks
from tailor.profiling.session import open_probes
from tailor.spec import Target, Widths
from tailor.timing import settings_named

KINDS = {"1024, as oneDNN": "1024", f"{ENOUGH}, as Tailor": str(ENOUGH)}
FEW, SESSIONS, SEED = 6, 2, 3
SETTINGS = replace(
    settings_named("quick"), min_rounds=12, max_rounds=12, half_width=0.0, max_seconds=3600.0, warmup_seconds=0.0
)


def one_process(count: int, batch: int) -> dict[str, Any]:
    """Log ratios of the few networks to the dense one in both companies, how samples scatter, primitives, memory."""
    torch.manual_seed(0)
    model, example = tailor.load_model("tailor/vgg16-cifar10").eval(), torch.randn(1, 3, 32, 32)
    graph = tailor.trace(model, example)
    timer = open_probes(model, graph, example, Target(batch_size=batch), database=Database.memory()).timer
    many = random_networks(graph, [(place + 0.5) / count for place in range(count)], SEED)
    few = many[:: max(1, count // FEW)][:FEW]
    before = psutil.Process().memory_info().rss
    found: dict[str, list[TimedNetworks]] = {"alone": [], "together": []}
    for session in range(SESSIONS):
        for company, networks in (("alone", few), ("together", many)):
            found[company].append(timer.time(networks, replace(SETTINGS, seed=session)))
    return {
        "ratios": {company: [_logs(each, few) for each in sessions] for company, sessions in found.items()},
        "scatter": {company: _scatter(timer, sessions, few) for company, sessions in found.items()},
        "compiled": compiled(timer, many),
        "megabytes": (psutil.Process().memory_info().rss - before) / 2**20,
    }


def _logs(session: TimedNetworks, networks: Sequence[Widths]) -> list[float]:
    return [math.log(session.times["quiet"][widths].ratio) for widths in networks]


def _scatter(timer: NetworkTimer, sessions: Sequence[TimedNetworks], networks: Sequence[Widths]) -> float:
    """Median over networks and sessions of the standard deviation of log samples."""
    keys = {timer.key(widths) for widths in networks}
    return statistics.median(
        statistics.stdev(map(math.log, each.samples_ns))
        for session in sessions
        for each in session.measurements
        if each.subject in keys
    )


def compiled(timer: NetworkTimer, networks: Sequence[Widths]) -> dict[str, int]:
    """How many primitives one call of each network uses, and how many of them are compiled although all have run."""
    subjects = [timer.subject(widths) for widths in networks]

    def every() -> None:
        for subject in subjects:
            subject.module(*subject.inputs)

    with torch.inference_mode():
        every()
        level = torch.backends.mkldnn.VERBOSE_ON_CREATION
        lines = onednn_lines(every, level)
    return {"used": lines.count("create:cache_"), "compiled": lines.count("create:cache_miss")}


def row(kind: str, results: Sequence[Mapping[str, Any]]) -> tuple[object, ...]:
    """One kind of process."""
    slower = [
        together - alone
        for each in results
        for one, other in zip(each["ratios"]["together"], each["ratios"]["alone"], strict=True)
        for together, alone in zip(one, other, strict=True)
    ]
    per_process = [len(slower) // len(results) * place for place in range(len(results) + 1)]
    means = [statistics.fmean(slower[a:b]) for a, b in itertools.pairwise(per_process)]
    return (
        kind,
        " ".join(f"{each['compiled']['compiled']} of {each['compiled']['used']}" for each in results),
        " ".join(f"{math.expm1(mean):+.1%}" for mean in means),
        f"{math.expm1(max(slower)):+.0%}",
        *(" ".join(f"{each['scatter'][company]:.1%}" for each in results) for company in ("alone", "together")),
        " ".join(f"{each['megabytes']:.0f}" for each in results),
    )


def main() -> None:
    """Alternate fresh processes of both kinds and write what they found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=40)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--only", action="store_true", help="one process as its environment stands, printed as JSON")
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(one_process(arguments.networks, arguments.batch)))
        return
    environment = collect()
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    given = [f"--networks={arguments.networks}", f"--batch={arguments.batch}"]
    for number in range(arguments.processes):
        for kind, results in found.items():
            done = subprocess.run(
                [sys.executable, __file__, "--only", *given], env=os.environ | {VARIABLE: KINDS[kind]},
                capture_output=True, text=True, check=True,
            )
            results.append(json.loads(done.stdout))
        print(f"{number + 1} of {arguments.processes}", flush=True)
    header = (
        "primitives kept", "compiled anew in a call of each network", "slower together than alone, means", "worst",
        "samples scatter, alone", "together", "memory, MB",
    )
    table = markdown_table(header, [row(kind, results) for kind, results in found.items()])
    write_results(
        "primitive_cache",
        {"environment": environment, "networks": arguments.networks, "batch": arguments.batch, "processes": found},
        title=(
            f"VGG-16s in eager PyTorch at batch {arguments.batch}, {FEW} of them alone and among "
            f"{arguments.networks}; one number a process"
        ),
        tables=[table],
        command=f"python benchmarks/primitive_cache.py --networks {arguments.networks} --batch {arguments.batch}",
    )
    print(table)


if __name__ == "__main__":
    main()
