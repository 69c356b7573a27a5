"""How long a latency holds: the unseen networks of a recorded prediction, measured again in fresh processes.

    python benchmarks/remeasure.py --host NAME --case vgg16_openvino_b1_t1      # recorded on this machine before
    python benchmarks/remeasure.py --host NAME --tables                         # the tables from the results there are

Every network again, as ratios to the dense network of the same rounds, by the same statistic, in a few sessions of each
of a few processes. What differs between sessions is noise; what differs between processes a few minutes apart is what a
process or a minute adds; what differs from the record in all of them is what has changed on the host since then.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from environment import RESULTS, collect, markdown_table, write_results
from prediction import Case, opened
from tailor.spec import Widths
from tailor.timing import settings_named

PROCESSES, SESSIONS, ROUNDS = 2, 3, 12
SIZES = (0.0, 0.06, 0.12, 0.3, 0.6, math.inf)  # bounds of a network's latency over the dense one's
FEWEST = 3  # networks of a size that has a column


def main() -> None:
    """Measure what was recorded, or in a process of its own some sessions of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", required=True, help="whose records, in results/prediction")
    parser.add_argument("--case", action="append", default=[], help="a file's name there; may be given again")
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    parser.add_argument("--process", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.process is not None:
        print(json.dumps(sessions(_record(asked.host, asked.case[0]), asked.process)))
        return
    name = f"remeasure_{asked.host}"
    file = RESULTS / f"{name}.json"
    report = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"cases": {}}
    if not asked.tables:
        if not asked.case:
            parser.error("--case names what is to be measured again, e.g. vgg16_openvino_b1_t1")
        known = sorted(path.stem for path in (RESULTS / "prediction" / asked.host).glob("*.json"))
        if unknown := sorted(set(asked.case) - set(known)):
            parser.error(f"nothing was recorded of {', '.join(unknown)} on {asked.host!r}; of {known or 'nothing'} was")
        report = {"environment": collect("onnxruntime", "openvino"), "cases": report["cases"]}
        for case in asked.case:
            report["cases"][case] = again(asked.host, case)
    cases = "".join(f" --case {case}" for case in report["cases"])
    print(write_results(
        name, report, title="Recorded latencies measured again", tables=tables(report["cases"]),
        command=f"python benchmarks/remeasure.py --host {asked.host}{cases}",
    ))  # fmt: skip


def again(host: str, case: str) -> dict[str, Any]:
    """The record's log ratios, predicted ones, and those of every session: [process][session][network]."""
    record, found = _record(host, case), []
    for process in range(PROCESSES):
        command = [sys.executable, __file__, "--host", host, "--case", case, "--process", str(process)]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found.append(json.loads(output.splitlines()[-1]))
    return {
        "measured at": record["environment"]["commit"],
        "recorded": [math.log(each["ms"] / record["dense_ms"]) for each in record["networks"]],
        "predicted": [math.log(each["tailor"] / record["dense_ms"]) for each in record["networks"]],
        "noise": [each["noise"] for each in record["networks"]],
        "again": found,
    }


def sessions(record: Mapping[str, Any], process: int) -> list[list[float]]:
    """Log ratios of all networks of a record, in its order, one row per session."""
    case = Case(**{**record["case"], "host": ""})
    _, probes = opened(case)
    networks = [Widths(each["widths"]) for each in record["networks"]]
    rows = []
    for session in range(SESSIONS):
        seed = process * SESSIONS + session
        settings = replace(
            settings_named("quick", seed=seed), min_rounds=ROUNDS, max_rounds=ROUNDS, half_width=0.0, paired=True,
            max_seconds=3600.0, warmup_seconds=0.0,
        )
        order = random.Random(seed).sample(networks, len(networks))
        times = probes.timer.time(order, settings).times[record["statistic"]]
        rows.append([math.log(times[widths].ratio) for widths in networks])
    return rows


def tables(cases: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """By how much networks differ, and of which sizes."""
    differing, sized = [], []
    for case, found in cases.items():
        recorded, predicted, noise = (np.array(found[name]) for name in ("recorded", "predicted", "noise"))
        new = np.array(found["again"])
        level = (new - recorded).mean(axis=2, keepdims=True)
        apart = new - level - recorded  # [processes, sessions, networks], without what all of a session share
        process = apart.mean(axis=1)
        change = process.mean(axis=0)
        within = math.sqrt(apart.var(axis=1, ddof=1).mean())
        between = math.sqrt(process.var(axis=0, ddof=1).mean())
        error = np.abs(np.expm1(predicted - recorded)), np.abs(np.expm1(predicted - new.mean(axis=(0, 1))))
        differing.append((
            case, found["measured at"], f"{np.median(noise):.1%}", f"{within:.1%}", f"{between:.1%}",
            f"{math.sqrt((change**2).mean()):.1%}", f"{np.ptp(level):.1%}",
            " / ".join(f"{each.mean():.1%} and {each.max():.1%}" for each in error),
        ))  # fmt: skip
        bins = [(recorded >= _log(low)) & (recorded < _log(high)) for low, high in itertools.pairwise(SIZES)]
        told = (f"{100 * change[own].mean():+.1f} % ({own.sum()})" if own.sum() >= FEWEST else "" for own in bins)
        sized.append((case, *told))
    bounds = [*(f"{low:.2g} to {high:.2g}" for low, high in itertools.pairwise(SIZES[:-1])), "above"]
    return [
        f"{PROCESSES} processes of {SESSIONS} sessions of {ROUNDS} rounds; root mean squares over the networks, "
        "without what all networks of a session have in common (the last but one column tells how far that moves).",
        markdown_table(
            (
                "case", "recorded at", "noise as recorded", "within a process, one session", "between processes",
                "from the record, mean of all", "levels of sessions, from least to most",
                "prediction's mean and worst error: recorded / again",
            ),
            differing,
        ),
        "Mean change since the record, by the network's latency over the dense one's (number of networks):",
        markdown_table(("case", *bounds), sized),
    ]  # fmt: skip


def _record(host: str, case: str) -> dict[str, Any]:
    file = RESULTS / "prediction" / host / f"{case}.json"
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record


def _log(share: float) -> float:
    return math.log(share) if share > 0 else -math.inf


if __name__ == "__main__":
    main()
