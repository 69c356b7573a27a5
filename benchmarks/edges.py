"""Finds the edges of real layers with few probes and holds them against exhaustive sweeps of the same layers.

The truth of a layer is every channel count timed once, fitted without any assumption about blocks. The finder then
measures afresh. An edge is true when the sweep jumps there by at least 1.5 claimable steps, and by two standard errors
more than the slope around, for a line rises everywhere; these are to be found. A found one is invented when the sweep
jumps there by less than half a claimable step, and by no more than two standard errors above the slope around. What
lies between is a jump that is finer than what may be claimed, and counts neither way.

Run it on a quiet machine: `python benchmarks/edges.py [--engines torch,openvino] [--layers NAME,...]`; it says first
how long it will take, and a second run goes on where the first was stopped. `--host NAME` keeps the results beside
another machine's. `--find-again` keeps the sweeps; the A/A resolution is measured and the edges are found anew.
`--sweep-again` does the same and averages each sweep with one more: what a busy host does to a sweep looks like edges.
`--replay` measures nothing: the finder of today probes the sweeps in the results that are there, with noise planted
into every probe, ten times. Nor does `--judge-again`: what was found then is held against the sweeps as they are judged
today.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from environment import RESULTS, collect, markdown_table, write_results
from tailor.database import Database
from tailor.engines import open_device
from tailor.engines.subjects import layer_subject
from tailor.latency.probing import next_probes
from tailor.latency.staircase import Point, Staircase, fit_staircase
from tailor.profiling.layers import LayerTimer
from tailor.protocols import Device
from tailor.records import TimingSettings
from tailor.spec import LayerShape, Target
from tailor.timing import SHARES, aa_resolution, claimable_step, settings_named

COMMAND = "python benchmarks/edges.py"
TRUE, FALSE = 1.5, 0.5  # claimable steps from which a jump must be found, and below which it may be invented
SURE = 2.0  # standard errors above the slope around from which there is a jump
SLOPE = 8  # counts on each side in which the slope is seen
AROUND = 4  # counts on each side whose median tells the level beside an edge
TOGETHER = (1, 2, 4, 8)  # counts in a row of which it is told together whether they cost less than a narrower one
# Of copies: with 12 rounds, the width of the interval is most of what they seem to differ by; one pair may be lucky.
ROUNDS, COPIES, SESSIONS = 72, 4, 3
REPLAYS = 10
CACHE = RESULTS.parent / "raw" / "edges-layers.json"  # the sweeps with their noise stay out of the repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A layer to sweep along one axis."""

    name: str
    shape: LayerShape
    axis: str

    @property
    def width(self) -> int:
        """Channels at the dense end."""
        return self.shape.out_channels if self.axis == "out" else self.shape.in_channels

    def at(self, channels: int) -> LayerShape:
        """The layer with so many channels along the axis."""
        if self.shape.groups > 1:
            return replace(self.shape, in_channels=channels, out_channels=channels, groups=channels)
        return replace(self.shape, **{f"{self.axis}_channels": channels})


def convolution(inputs: int, outputs: int, size: int, kernel: int = 3, groups: int = 1) -> LayerShape:
    """A square convolution with stride 1 that keeps its size."""
    return LayerShape(
        kind="conv", in_channels=inputs, out_channels=outputs, kernel=(kernel, kernel), stride=(1, 1),
        padding=(kernel // 2, kernel // 2), dilation=(1, 1), groups=groups, spatial=(size, size),
    )


CASES = (
    Case(name="3x3 256->256 @14 out", shape=convolution(256, 256, 14), axis="out"),
    Case(name="3x3 256->256 @14 in", shape=convolution(256, 256, 14), axis="in"),
    Case(name="3x3 256->512 @7 out", shape=convolution(256, 512, 7), axis="out"),
    Case(name="3x3 512->256 @7 in", shape=convolution(512, 256, 7), axis="in"),
    Case(name="1x1 256->512 @14 out", shape=convolution(256, 512, 14, 1), axis="out"),
    Case(name="1x1 384->128 @14 in", shape=convolution(384, 128, 14, 1), axis="in"),
    Case(name="depthwise 384 @14", shape=convolution(384, 384, 14, 3, 384), axis="out"),
    Case(name="3x3 64->64 @32 out", shape=convolution(64, 64, 32), axis="out"),
    Case(name="tiny 3x3 8->32 @8 out", shape=convolution(8, 32, 8), axis="out"),
)


def main() -> None:
    """Sweep, find, compare, write."""
    options = _options()
    if options.replay:
        replay(options.host)
        return
    if options.judge_again:
        judge_again(options)
        return
    cases = [case for case in CASES if options.layers is None or case.name in options.layers]
    done: dict[str, Any] = json.loads(CACHE.read_text(encoding="utf-8")) if CACHE.exists() else {}
    environment = collect()
    _tell_time(cases, options, done)
    for name in options.engines:
        engine, _, layout = name.partition("+")
        target = Target(engine=engine, threads=options.threads, layout=layout or "contiguous")
        device = open_device(target)
        for case in cases:
            key = f"{name} | {case.name} | {options.threads} threads | {device.environment().key}"
            if key not in done or options.find_again or options.sweep_again:
                found = compared(device, case, done.get(key), sweep_again=options.sweep_again)
                done[key] = {"engine": name, "layer": case.name, **found}
                CACHE.parent.mkdir(exist_ok=True)
                CACHE.write_text(json.dumps(done, indent=2), encoding="utf-8")
            print(_line(done[key]), flush=True)
    wanted = {case.name for case in cases}
    rows = [row for row in done.values() if row["engine"] in options.engines and row["layer"] in wanted]
    _write(rows, environment, options)


def compared(
    device: Device, case: Case, known: dict[str, Any] | None = None, *, sweep_again: bool = False
) -> dict[str, Any]:
    """The sweep of one layer (taken from `known` where it was made before) against what the finder says."""
    resolution = _resolution(device, case)
    measured = time.perf_counter()
    sweep = [Point(channels=channels, ns=ns, noise=noise) for channels, ns, noise in known["sweep"]] if known else []
    sweeps, seconds = (known.get("sweeps", 1), known["sweep seconds"]) if known else (0, 0.0)
    if sweep_again or not known:
        fresh = _timer(device, case).points(_spread(case.width))
        sweep = averaged(sweep, fresh) if known else fresh
        sweeps, seconds = sweeps + 1, seconds + time.perf_counter() - measured
    swept = time.perf_counter()
    found, probes = _find(device, case, resolution)
    missed, invented, true = judged(sweep, found.sharp_edges, found.edges, resolution)
    return {
        "width": case.width,
        "resolution": resolution,
        "true": true,
        "missed": missed,
        "found": list(found.sharp_edges),
        "edges": list(found.edges),
        "invented": invented,
        "probes": probes,
        "share": probes / case.width,
        "described": bool(found.regimes),
        "blocks": [regime.quantum for regime in found.regimes],
        "sweeps": sweeps,
        "sweep seconds": seconds,
        "finder seconds": time.perf_counter() - swept,
        "sweep": [[point.channels, point.ns, point.noise] for point in sweep],
    }


def averaged(sweep: Sequence[Point], fresh: Sequence[Point]) -> list[Point]:
    """The weighted mean of two sweeps of the same counts, on the first one's level, with the errors that they show.

    Where the two differ by more than their errors tell, both have larger ones.
    """
    first, second = (np.array([math.log(point.ns) for point in points]) for points in (sweep, fresh))
    noise, own = (np.array([point.noise for point in points]) for points in (sweep, fresh))
    apart = second - first - np.median(second - first)
    told = np.sqrt(noise**2 + own**2)
    larger = max(1.0, 1.4826 * float(np.median(np.abs(apart) / told)))
    weight = noise**2 / told**2
    errors = larger * noise * own / told
    return [
        Point(channels=point.channels, ns=round(point.ns * math.exp(share * shift)), noise=float(error))
        for point, share, shift, error in zip(sweep, weight, apart, errors, strict=True)
    ]


def replay(host: str) -> None:
    """Let the finder probe the sweeps that were measured once, each probe off by a planted error; write what it found.

    The relative standard error is half the layer's A/A resolution, the least that the finder reckons with.
    """
    known = json.loads((RESULTS / f"{_named('edges', host)}.json").read_text(encoding="utf-8"))
    lines, totals = [], np.zeros(4)
    for row in known["layers"]:
        times = {channels: int(ns) for channels, ns in enumerate(row["sweep"].split(), start=1)}
        noise = row["resolution"] / 2
        own = row.get("sweep noise", noise)
        sweep = [Point(channels=channels, ns=ns, noise=own) for channels, ns in times.items()]
        counts = np.zeros(4)
        for seed in range(REPLAYS):
            draw = np.random.default_rng(seed)
            points: list[Point] = []
            while probes := next_probes(points, row["width"], row["resolution"], limit=40):
                told = {channels: times[channels] * math.exp(noise * draw.standard_normal()) for channels in probes}
                points += [Point(channels=channels, ns=round(ns), noise=noise) for channels, ns in told.items()]
            found = fit_staircase(points, row["resolution"])
            missed, invented, true = judged(sweep, found.sharp_edges, found.edges, row["resolution"])
            counts += np.array([len(true), len(true) - len(missed), len(invented), len(points)]) / REPLAYS
        totals += counts
        lines.append((
            row["engine"], row["layer"], f"{row['resolution']:.2%}", f"{counts[0]:.0f}", f"{counts[1]:.1f}",
            f"{counts[2]:.1f}", f"{counts[3]:.0f}", f"{counts[3] / row['width']:.0%}",
        ))  # fmt: skip
    true, found, invented, probes = totals
    summary = (
        f"{found:.1f} of {true:.0f} true edges found, {invented:.1f} invented, {probes:.0f} probes: means of "
        f"{REPLAYS} replays of sweeps that were measured on {known['environment']['cpu']}, with errors of half the A/A "
        "resolution planted into every probe."
    )
    header = ("engine", "layer", "A/A", "true edges", "found of them", "invented", "probes", "of exhaustive")
    layers = [dict(zip(header, line, strict=True)) for line in lines]
    write_results(
        _named("edges_replay", host), {"environment": collect(), "layers": layers},
        title="Edges found in recorded sweeps", tables=[summary, markdown_table(header, lines)],
        command=f"{COMMAND} --replay" + (f" --host {host}" if host else ""),
    )
    print(summary)


def judge_again(options: argparse.Namespace) -> None:
    """Judge what the results hold, by the sweeps that they hold; environment and figures stay those of their run."""
    known = json.loads((RESULTS / f"{_named('edges', options.host)}.json").read_text(encoding="utf-8"))
    rows = []
    for row in known["layers"]:
        noise = row.get("sweep noise", row["resolution"] / 2)
        sweep = [Point(channels=c, ns=int(ns), noise=noise) for c, ns in enumerate(row["sweep"].split(), start=1)]
        # Older results do not hold edges that may not be called sharp, but those of them that a true edge needed.
        edges = row.get("edges", [*row["found"], *(edge for edge in row["true"] if edge not in row["missed"])])
        missed, invented, true = judged(sweep, row["found"], edges, row["resolution"])
        again: dict[str, Any] = {"missed": missed, "invented": invented, "true": true, "edges": sorted({*edges})}
        if "sweep noise" not in row:
            again["sweep noise assumed"] = True
        rows.append({**row, **again, "sweep": [[point.channels, point.ns, point.noise] for point in sweep]})
    _write(rows, known["environment"], options)


def _named(what: str, host: str) -> str:
    """The results' name, those of another host apart."""
    return f"{what}_{host}" if host else what


def judged(
    sweep: Sequence[Point], sharp: Sequence[int], edges: Sequence[int], resolution: float
) -> tuple[list[int], list[int], list[int]]:
    """(missed, invented, true) edges, by how far the sweep's padded-up curve jumps at each channel count.

    `edges` are all that were found, `sharp` those of them at which a jump was claimed.
    """
    claimable = claimable_step(resolution)
    truth = fit_staircase(sweep, resolution)
    times = padded(sweep)
    sure = SURE * 1.25 * math.sqrt(2 / AROUND) * statistics.median(point.noise for point in sweep)  # of two medians
    true = [
        edge for edge in truth.sharp_edges
        if jump(times, edge) >= max(TRUE * claimable, slope(times, edge) + sure)
    ]
    missed = [edge for edge in true if edge not in edges]
    invented = [
        edge for edge in sharp
        if jump(times, edge) < min(FALSE * claimable, slope(times, edge) + sure)
    ]
    return missed, invented, true


def padded(sweep: Sequence[Point]) -> dict[int, float]:
    """What each count costs at most, for any wider layer may run in its place: as far as one surely costs less.

    The least of all wider counts would be the luckiest measurement of them, and pull down a whole stair of small steps.
    So neighbours speak together, up to eight, and no lower than their standard error allows.
    """
    ordered = sorted(sweep, key=lambda point: point.channels)
    logs = np.array([math.log(point.ns) for point in ordered])
    noise, sums = statistics.median(point.noise for point in ordered), np.concatenate([[0.0], np.cumsum(logs)])
    costs, cheapest = dict[int, float](), math.inf
    for place in range(len(ordered) - 1, -1, -1):
        costs[ordered[place].channels] = math.exp(min(logs[place], cheapest))
        for count in (each for each in TOGETHER if place + each <= len(ordered)):
            mean = (sums[place + count] - sums[place]) / count
            cheapest = min(cheapest, mean + SURE * noise / math.sqrt(count))
    return costs


def jump(times: Mapping[int, float], edge: int) -> float:
    """The rise of a padded curve right behind an edge, as a share of the level before it."""
    before, after = _levels(times, edge)
    return after / before - 1


def slope(times: Mapping[int, float], edge: int) -> float:
    """The usual rise around an edge, as a share of the level before it: a line rises everywhere, a stair at edges only.
    """
    near = [place for place in range(edge - SLOPE, edge + SLOPE + 1) if abs(place - edge) >= AROUND]
    sides = [_levels(times, place) for place in near if {place, place + 1} <= times.keys()]
    rise = statistics.median(after - before for before, after in sides) if sides else 0.0
    return rise / _levels(times, edge)[0]


def _levels(times: Mapping[int, float], edge: int) -> tuple[float, float]:
    """Medians of a few counts on each side of an edge."""
    left = [ns for count, ns in times.items() if edge - AROUND < count <= edge]
    right = [ns for count, ns in times.items() if edge < count <= edge + AROUND]
    return statistics.median(left), statistics.median(right)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timer:
    """Lone layers of one case, timed anew, never out of a database on disk."""

    layers: LayerTimer
    case: Case

    def points(self, counts: Sequence[int]) -> list[Point]:
        """Time these channel counts; every one that is known by then, for later sessions tell of earlier ones too."""
        self.layers.learn([self.case.at(count) for count in counts], seconds=3600.0, ns_per_mac=0.01)
        known = {count: self.layers.times.get(self.case.at(count)) for count in range(1, self.case.width + 1)}
        return [Point(channels=c, ns=found.ns, noise=found.noise) for c, found in known.items() if found is not None]


def _timer(device: Device, case: Case) -> _Timer:
    layers = LayerTimer(
        device=device, environment=device.environment(), database=Database.memory(), batch_size=1,
        settings=settings_named("quick"), seed=0, progress=lambda stage, done, total: None,
    )
    return _Timer(layers=layers, case=case)


def _spread(width: int) -> list[int]:
    """All channel counts, those of one session far apart: what remains of its state must not look like a step."""
    stride = math.ceil(width / 64)
    return [count for first in range(1, stride + 1) for count in range(first, width + 1, stride)]


def _find(device: Device, case: Case, resolution: float) -> tuple[Staircase, int]:
    timer, points = _timer(device, case), list[Point]()
    while probes := next_probes(points, case.width, resolution, limit=40):
        points = timer.points(probes)
    return fit_staircase(points, resolution), len(points)


def _resolution(device: Device, case: Case) -> float:
    """What two copies of the dense layer differ by: median over pairs and sessions, by the levels that agree better."""
    settings: TimingSettings = replace(settings_named("quick"), min_rounds=ROUNDS, max_rounds=ROUNDS, half_width=0.0)
    found: dict[str, list[float]] = {statistic: [] for statistic in SHARES}
    for session in range(SESSIONS):
        subject = layer_subject(case.shape, 1)
        copies = [replace(subject, key=f"{subject.key} copy {number}") for number in range(COPIES)]
        measured = device.measure(copies, replace(settings, seed=session))
        for (statistic, own), pair in itertools.product(found.items(), itertools.combinations(measured, 2)):
            own.append(aa_resolution(*(each.samples_ns for each in pair), statistic))
    return min(statistics.median(own) for own in found.values())


def _tell_time(cases: Sequence[Case], options: argparse.Namespace, done: dict[str, Any]) -> None:
    sweep = 0 if options.find_again else 36 * 25e-3
    seconds = sum(sweep * case.width + 60 for case in cases) * len(options.engines)
    print(f"{len(cases)} layers on {len(options.engines)} engines: up to {seconds / 60:.0f} minutes; {len(done)} known")


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['engine']:<22} {row['layer']:<24} {len(row['true'])} true, {len(row['missed'])} missed, "
        f"{len(row['invented'])} invented, {row['probes']} probes of {row['width']}, A/A {row['resolution']:.2%}"
    )


def _write(rows: Sequence[dict[str, Any]], environment: dict[str, str], options: argparse.Namespace) -> None:
    header = (
        "engine", "layer", "A/A", "sweeps", "error of a sweep's points", "true edges", "found of them", "invented",
        "probes", "of exhaustive", "blocks",
    )
    noise = [statistics.median(own for _, _, own in row["sweep"]) for row in rows]
    lines = [
        (
            row["engine"], row["layer"], f"{row['resolution']:.2%}", row.get("sweeps", 1), f"{error:.2%}",
            len(row["true"]), len(row["true"]) - len(row["missed"]), len(row["invented"]), row["probes"],
            f"{row['share']:.0%}", ", ".join(map(str, row["blocks"])) or "halved",
        )
        for row, error in zip(rows, noise, strict=True)
    ]
    total = sum(len(row["true"]) for row in rows)
    missed, invented = (sum(len(row[name]) for row in rows) for name in ("missed", "invented"))
    summary = f"{total - missed} of {total} true edges found, {invented} invented, on {len(rows)} layers and engines."
    short = [
        {**row, "sweep": " ".join(str(ns) for _, ns, _ in row["sweep"]), "sweep noise": error}
        for row, error in zip(rows, noise, strict=True)
    ]
    report = {"environment": environment, "layers": short}
    if max((row.get("sweeps", 1) for row in rows), default=1) > 1:
        summary += " Each sweep after the first was made by a run with `--sweep-again`; the rest is of the last run."
    if any(row.get("sweep noise assumed") for row in rows):
        summary += " The error of a sweep's points was not kept: half the A/A resolution stands for it."
    if options.judge_again:
        summary += f" Judged again by the version {collect()['commit']}; all else is of the run."
    command = f"{COMMAND} --engines {','.join(options.engines)}" + (f" --host {options.host}" if options.host else "")
    command += " --find-again" * options.find_again + " --sweep-again" * options.sweep_again
    command += " --judge-again" * options.judge_again
    path = write_results(
        _named("edges", options.host), report, title="Edges found with few probes",
        tables=[summary, markdown_table(header, lines)], command=command,
    )
    print(summary, Path(path), sep="\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", default="torch,torch+channels_last,onnxruntime,openvino", type=_names)
    parser.add_argument("--layers", type=_names, help="names of cases, with commas; by default all")
    parser.add_argument("--host", default="", help="keep the results beside another machine's, under this name")
    parser.add_argument("--find-again", action="store_true", help="keep the sweeps, measure all else anew")
    parser.add_argument("--sweep-again", action="store_true", help="one more sweep, averaged; measure all else anew")
    parser.add_argument("--judge-again", action="store_true", help="measure nothing: judge what the results hold")
    parser.add_argument("--replay", action="store_true", help="probe the sweeps in the results, with planted errors")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def _names(text: str) -> list[str]:
    return text.split(",")


if __name__ == "__main__":
    main()
