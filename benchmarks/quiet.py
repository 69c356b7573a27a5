"""Which number of a session says the same again later: medians of paired ratios, quiet levels, usual or steadied ones.

    python benchmarks/quiet.py [--minutes 5]
    python benchmarks/quiet.py --host NAME       # keep the results beside another machine's

Ten networks (the dense one twice, eight narrowed ones) run in shuffled rounds for minutes on a host that other machines
share. Cut into windows of so many rounds, every window says how much of the dense latency each narrowed network takes;
the standard deviation over the windows is what a session of that length errs by. Levels are means of the quickest
quarter (quiet) or three quarters (usual) of the calls; "steadied" ones are usual levels without what the calls around
say of each call's moment, as profiles count them. The last column is the slope of the narrowed networks' log ratios
over the log latency of the dense one: 0 where all are slowed alike, 1 where a narrowed network is slowed twice as much.
"""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

import tailor
from environment import collect, markdown_table, write_results
from random_cut import random_networks
from tailor.database import Database
from tailor.models import input_shape
from tailor.profiling.session import open_probes
from tailor.records import TimingSettings
from tailor.spec import Target
from tailor.timing import SHARES, quickest_values, steadied

FloatArray = npt.NDArray[np.float64]

CASES = {
    "tailor/vgg16-cifar@0.5": Target(),
    "tailor/resnet56-cifar10": Target(engine="onnxruntime"),
    "torchvision/resnet18": Target(layout="channels_last"),
}
PLACES = (0.02, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95)  # of the narrowed networks, in the order of their work
WINDOWS = (12, 24, 36, 48, 96)
SEED, COPIES = 5, 2


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Log samples and their places in the order of their rounds, both [networks, rounds], dense copies first."""

    logs: FloatArray
    places: npt.NDArray[np.int64]

    def windows(self, rounds: int) -> list[Recorded]:
        """One after the other, so many rounds each."""
        starts = range(0, self.logs.shape[1] - rounds + 1, rounds)
        parts = [slice(start, start + rounds) for start in starts]
        return [Recorded(logs=self.logs[:, part], places=self.places[:, part]) for part in parts]


def recorded(name: str, target: Target, seconds: float) -> tuple[Recorded, list[float]]:
    """What was timed, and each narrowed network's share of the MACs."""
    torch.manual_seed(0)
    model = tailor.load_model(name).eval()
    example = torch.randn(1, *input_shape(name, model))
    graph = tailor.trace(model, example)
    probes = open_probes(model, graph, example, target, database=Database.memory())
    networks = random_networks(graph, PLACES, SEED)
    endless = TimingSettings(
        min_rounds=10**6, max_rounds=10**6, half_width=0.0, max_seconds=seconds, warmup_seconds=0.0, paired=True
    )
    timed = probes.timer.time(networks, endless)
    logs = np.log(np.array([measurement.samples_ns for measurement in timed.measurements], dtype=float))
    places = np.array([measurement.places for measurement in timed.measurements])
    whole = graph.macs(graph.dense_widths)
    return Recorded(logs=logs, places=places), [graph.macs(widths) / whole for widths in networks]


def paired_medians(window: Recorded) -> FloatArray:
    """Each narrowed network's median over the rounds of its log ratio to the dense copies."""
    return np.asarray(np.median(window.logs[COPIES:] - window.logs[:COPIES].mean(axis=0), axis=1))


def level_ratios(window: Recorded, share: float) -> FloatArray:
    """Each narrowed network's level, by this share of its quickest calls, less that of the dense copies."""
    levels = np.array([np.mean(quickest_values(row.tolist(), share)) for row in window.logs])
    return np.asarray(levels[COPIES:] - levels[:COPIES].mean())


def steadied_ratios(window: Recorded) -> FloatArray:
    """Ratios of usual levels without what the host did at the moment of each call."""
    samples = {str(row): [round(1e3 * math.exp(log)) for log in logs] for row, logs in enumerate(window.logs)}
    places = {str(row): own.tolist() for row, own in enumerate(window.places)}
    logs = np.log(np.array([*steadied(samples, places).values()], dtype=float))
    return level_ratios(replace(window, logs=logs), SHARES["usual"])


STATISTICS: Mapping[str, Callable[[Recorded], FloatArray]] = {
    "paired medians": paired_medians,
    **{f"{name} levels": functools.partial(level_ratios, share=share) for name, share in SHARES.items()},
    "steadied levels": steadied_ratios,
}


def scatter(known: Recorded, rounds: int, estimate: Callable[[Recorded], FloatArray]) -> FloatArray:
    """Standard deviation over windows of so many rounds, for each narrowed network."""
    return np.asarray(np.std([estimate(window) for window in known.windows(rounds)], axis=0, ddof=1))


def slopes(known: Recorded, rounds: int) -> FloatArray:
    """By how much of what slows the dense network its narrowed versions are slowed more, window by window."""
    windows = known.windows(rounds)
    dense = [float(np.median(window.logs[:COPIES])) for window in windows]
    ratios = np.array([paired_medians(window) for window in windows])
    return np.array([np.polyfit(dense, column, 1)[0] for column in ratios.T])


def main() -> None:
    """Record, cut into windows, and write what they say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--host", default="", help="keep the results apart, under this name")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    environment = collect("onnxruntime")
    report, rows = {}, []
    for name, target in CASES.items():
        known, macs = recorded(name, target, 60 * arguments.minutes)
        logs = known.logs
        windows = [rounds for rounds in WINDOWS if logs.shape[1] >= 6 * rounds]
        found = {
            statistic: {rounds: scatter(known, rounds, estimate) for rounds in windows}
            for statistic, estimate in STATISTICS.items()
        }
        slowed = slopes(known, windows[0])
        report[f"{name} on {target}"] = {
            "rounds": logs.shape[1],
            "dense_ms": {
                f"{share:.0%}": math.exp(float(np.quantile(logs[:COPIES], share))) / 1e6 for share in (0.05, 0.5, 0.95)
            },
            "macs": macs,
            "scatter": {
                statistic: {str(rounds): list(map(float, each)) for rounds, each in by_rounds.items()}
                for statistic, by_rounds in found.items()
            },
            "slopes": list(map(float, slowed)),
        }
        rows += [_row(name, target, statistic, by_rounds, slowed) for statistic, by_rounds in found.items()]
        print(*rows[-len(found) :], sep="\n", flush=True)
    header = ("network", "statistic", *(f"{rounds} rounds" for rounds in WINDOWS), "slope, lightest to heaviest")
    write_results(
        f"quiet_{arguments.host}" if arguments.host else "quiet",
        {"environment": environment, "minutes": arguments.minutes, "cases": report},
        title="What sessions of so many rounds err by on this host: mean over eight narrowed networks",
        tables=[markdown_table(header, rows)],
        command=f"python benchmarks/quiet.py --minutes {arguments.minutes:g}"
        + (f" --host {arguments.host}" if arguments.host else ""),
    )


def _row(
    name: str, target: Target, statistic: str, found: dict[int, FloatArray], slowed: Sequence[float]
) -> tuple[str, ...]:
    told = [f"{float(np.mean(found[rounds])):.1%}" if rounds in found else "" for rounds in WINDOWS]
    slope = ", ".join(f"{each:.1f}" for each in slowed) if statistic == "paired medians" else ""
    return (f"{name} on {target}", statistic, *told, slope)


if __name__ == "__main__":
    main()
