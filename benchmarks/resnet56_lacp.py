"""The real network: ResNet-56 on CIFAR-10, cut by LACP to 75 % of its latency on this CPU at batch 1 and batch 128.

Weights and images are not part of the project; give their places. Each run is an ordinary `tailor prune`, so a stopped
benchmark goes on with the same command.

    python benchmarks/resnet56_lacp.py --weights resnet56-cifar10.safetensors --data imagefolder:cifar10
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from environment import collect, markdown_table, write_results
from tailor.latency.profile import Profile
from tailor.records import Reductions, SearchSummary, Stages, Verdict
from tailor.report.wording import verdict_line
from tailor.serialize import read_record

GOALS = {"search_seconds": 600.0, "structures": 300, "accuracy_drop": 0.015}


def prune(arguments: argparse.Namespace, batch: int) -> Path:
    """Run the command line once and give the run folder; a budget missed is a result, an error is not."""
    folder = arguments.runs / f"resnet56-75pct-torch-b{batch}"
    options = (
        f"--weights {arguments.weights} --data {arguments.data} --budget 75% --method lacp --engine torch "
        f"--batch-size {batch} --threads 1 --recipe short --epochs {arguments.epochs} --out {folder} --resume"
    )
    command = [sys.executable, "-m", "tailor", "prune", "tailor/resnet56-cifar10", *shlex.split(options)]
    finished = subprocess.run(command, check=False)
    if finished.returncode not in (0, 3, 4):
        raise SystemExit(finished.returncode)
    return folder


def findings(folder: Path, seconds: float) -> dict[str, Any]:
    """What one run folder says about the goals."""
    verdict, stages = read_record(folder / "verdict.json", Verdict), read_record(folder / "stages.json", Stages)
    search = read_record(folder / "search.json", SearchSummary)
    profile = read_record(folder / "profile.json", Profile)
    reductions = read_record(folder / "reductions.json", Reductions)
    return {
        "batch": verdict.target.batch_size,
        "line": verdict_line(verdict, stages),
        "verdict": verdict.outcome.value,
        "ratio": [verdict.ratio.value, verdict.ratio.low, verdict.ratio.high],
        "dense_ms": verdict.dense.value / 1e6,
        "resolution": verdict.resolution,
        "structures": search.structures,
        "search_seconds": search.seconds,
        "profile_seconds": profile.seconds,
        "prediction_error": {"mean": profile.error.mean, "worst": profile.error.worst},
        "accuracy": {name: getattr(stages, name) for name in ("dense", "cut", "recalibrated", "fine_tuned")},
        "reductions": {name: list(getattr(reductions, name)) for name in ("macs", "parameters", "channels")},
        "total_seconds_of_the_last_start": seconds,
    }


def misses(found: Mapping[str, Any]) -> list[str]:
    """The goals that this run missed, in words."""
    accuracy = found["accuracy"]
    drop = accuracy["dense"] - accuracy["fine_tuned"]
    checks = {
        f"verdict {found['verdict']}": found["verdict"] == "PASS",
        f"{found['structures']} structures": found["structures"] == GOALS["structures"],
        f"search took {found['search_seconds']:.0f} s": found["search_seconds"] <= GOALS["search_seconds"],
        f"accuracy fell by {100 * drop:.2f} points": drop <= GOALS["accuracy_drop"],
    }
    return [text for text, met in checks.items() if not met]


def table(run: Mapping[str, Any]) -> str:
    """The findings, a line each."""
    value, low, high = (f"{100 * share:.1f}" for share in run["ratio"])
    error, top1 = run["prediction_error"], run["accuracy"]
    rows = [
        ("verdict", run["verdict"]),
        ("latency, pruned over dense (95 % interval)", f"{value} % ({low} to {high})"),
        *((f"top-1, {stage.replace('_', '-')}", f"{100 * top1[stage]:.2f} %") for stage in top1),
        *(
            (name, f"{before:,} -> {after:,} (-{1 - after / before:.1%})")
            for name, (before, after) in run["reductions"].items()
        ),
        ("structures searched", f"{run['structures']} in {run['search_seconds']:.0f} s"),
        ("profile", f"{run['profile_seconds']:.0f} s"),
        ("prediction error on unseen networks, mean / worst", f"{error['mean']:.1%} / {error['worst']:.1%}"),
        ("A/A resolution of the verdict", f"{run['resolution']:.1%}"),
    ]
    return markdown_table(("", ""), rows)


def main() -> None:
    """Run both batch sizes, write the results, and fail when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", required=True, help="what `tailor prune --data` takes")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark"))
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 128])
    arguments = parser.parse_args()
    missed = []
    for batch in arguments.batches:
        environment = collect()
        started = time.perf_counter()
        folder = prune(arguments, batch)
        run = findings(folder, time.perf_counter() - started)
        print(json.dumps(run, indent=2), flush=True)
        write_results(
            f"resnet56_lacp_b{batch}",
            {"environment": environment, "goals": GOALS, "epochs": arguments.epochs, "run": run},
            title=f"ResNet-56 on CIFAR-10, LACP, 75 % of its latency on a CPU at batch {batch}",
            tables=[f"`{run['line']}`", table(run)],
            command=f"python benchmarks/resnet56_lacp.py --weights FILE --data imagefolder:CIFAR10 --batches {batch}",
        )
        missed += [f"batch {batch}: {text}" for text in misses(run)]
    print("\n".join(missed) or "every goal met")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
