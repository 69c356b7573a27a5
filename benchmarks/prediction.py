"""How far latency predictions are from networks they have not seen, beside four usual ways of predicting.

    python benchmarks/prediction.py                       # every network and target, some hours; goes on where it was
    python benchmarks/prediction.py --network resnet56 --engine openvino --batch 1 --threads 1
    python benchmarks/prediction.py --gpu                 # ResNet-50 on a CUDA device at batch 1, 32 and 128
    python benchmarks/prediction.py --refit               # new fits to the same measurements, kept in benchmarks/raw
    python benchmarks/prediction.py --host NAME           # keep the results beside another machine's
    python benchmarks/prediction.py --tables              # the tables and the figure from the results there are

Per network and target: a profile from nothing (no database), and 32 random pruned networks that it has not seen, half
of them from the layers' candidates, half of any widths. All of these run, as fresh instances, with every session of
the profile's own networks (of 24 or more): in turn in its rounds, half as many as its own at most, and the others right
after it. The profile's clock stands still for them all. A shared host changes from minute to minute, and slows small
networks otherwise than large ones, so that both have to meet the same minutes.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import math
import pickle
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tailor
from environment import RESULTS, collect, markdown_table
from tailor.database import Database
from tailor.latency.candidates import draw_networks
from tailor.latency.fitting import fit_error
from tailor.profiling.fitting import FittedLatency, fit_latency
from tailor.profiling.networks import NetworkTime, NetworkTimer, TimedNetworks
from tailor.profiling.probes import NetworkProbes
from tailor.profiling.session import conclude, open_probes
from tailor.profiling.stairs import stairs_by_layer
from tailor.profiling.survey import Survey, survey_layers, survey_networks
from tailor.records import TimingSettings
from tailor.spec import ChannelGraph, Target, Widths
from tailor.timing import SHARES, settings_named

PLACE, RAW = RESULTS / "prediction", RESULTS.parent / "raw"  # the measurements themselves stay out of the repository
NETWORKS = {
    "resnet56": ("tailor/resnet56-cifar10", 32),
    "vgg16": ("tailor/vgg16-cifar10", 32),
    "resnet18": ("torchvision/resnet18", 224),
    "mobilenet_v2": ("torchvision/mobilenet_v2", 224),
    "resnet50": ("torchvision/resnet50", 224),
}
ENGINES = {
    "torch": Target(),
    "torch-channels-last": Target(layout="channels_last"),
    "onnxruntime": Target(engine="onnxruntime"),
    "openvino": Target(engine="openvino"),
    "torch-cuda": Target(device="cuda"),
    "cuda-graph": Target(engine="cuda-graph", device="cuda"),
    "torch-compile-cuda": Target(engine="torch-compile", device="cuda"),
}
CPU, GPU = tuple(ENGINES)[:4], tuple(ENGINES)[4:]
PROBES, UNSEEN = 290, 32
# Unseen networks in one session at most, and how many of the profile's it must have to be worth their time; a GPU holds
# the working memory of all of them. They are no more than half of the profile's, which were slowed by a larger company.
AT_ONCE, BESIDE = {"cpu": UNSEEN, "cuda": 8}, {"cpu": 24, "cuda": 8}
FEWEST_SESSIONS = 2  # of each unseen network: fewer say nothing about how they scatter, or drift
METHODS = ("tailor", "flops", "three sub-networks", "lone layers", "cout only")
GOAL_MEAN, GOAL_WORST, GOAL_SECONDS = 0.025, 0.10, 600


@dataclass(frozen=True)
class Case:
    """One network on one target."""

    network: str
    engine: str
    batch: int
    threads: int
    host: str = ""  # of results that are kept apart

    @property
    def file(self) -> Path:
        return PLACE / self.host / f"{self.network}_{self.engine}_b{self.batch}_t{self.threads}.json"

    @property
    def raw(self) -> Path:
        return RAW / self.host / f"{self.file.stem}.pickle"

    @property
    def target(self) -> Target:
        return replace(ENGINES[self.engine], batch_size=self.batch, threads=self.threads)


def cases() -> list[Case]:
    """Batch 1 on one thread for all; the two CIFAR networks also at batch 16, and on two threads."""
    usual = [Case(network, engine, 1, 1) for network, engine in itertools.product(tuple(NETWORKS)[:4], CPU)]
    cifar = list(itertools.product(("resnet56", "vgg16"), CPU))
    return usual + [Case(*each, 16, 1) for each in cifar] + [Case(*each, 1, 2) for each in cifar]


def gpu_cases() -> list[Case]:
    """What wants a CUDA device."""
    return [Case("resnet50", engine, batch, 1) for engine, batch in itertools.product(GPU, (1, 32, 128))]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one session said of an unseen network, and how many of the profile's own networks ran in it."""

    time: NetworkTime
    beside: int


@dataclass(frozen=True, kw_only=True)
class Raw:
    """What one case measured: the profile's survey, and each unseen network's sessions by statistic.

    `behind` says whether some of these were right behind the profile's own.
    """

    graph: ChannelGraph
    survey: Survey
    environment: dict[str, str]
    profile_seconds: float
    truth_seconds: float
    known: dict[str, dict[Widths, list[Seen]]]
    behind: bool = False

    @property
    def sessions(self) -> dict[Widths, list[Seen]]:
        """By the statistic that the profile counts."""
        return self.known[self.survey.probed.statistic]

    @functools.cached_property
    def truth(self) -> dict[Widths, tuple[float, float]]:
        """Each unseen network's ratio to the dense one and its relative standard error, by all its sessions."""
        return {widths: said(known) for widths, known in self.sessions.items()}

    @property
    def drift(self) -> float:
        """By how much the later half of the sessions differs from the earlier one, on average."""
        halves = [(known[: len(known) // 2], known[len(known) // 2 :]) for known in self.sessions.values()]
        return statistics.fmean(abs(math.log(said(after)[0] / said(before)[0])) for before, after in halves)


def said(known: Sequence[Seen]) -> tuple[float, float]:
    """A network's ratio to the dense one, and its relative standard error by how its sessions scatter.

    Sessions count as they do in the host's mean state, by the number of the profile's networks in them.
    """
    logs, weights = np.array([(math.log(seen.time.ratio), seen.beside) for seen in known], dtype=float).T
    weights /= weights.sum()
    mean = float(weights @ logs)
    scatter = float(weights**2 @ (logs - mean) ** 2) * len(logs) / max(1, len(logs) - 1)
    return math.exp(mean), math.sqrt(scatter)


def measure(case: Case) -> Raw:
    """Profile from nothing, and time networks that the profile does not see in the same sessions."""
    graph, probes = opened(case)
    environment = collect("onnxruntime", "openvino")
    settings, device = settings_named("default"), case.target.device
    layers = survey_layers(graph, probes, case.target, settings=settings, networks=PROBES, tell=print)
    seen = set(draw_networks(graph, layers.candidates, PROBES, probes.seed))
    drawn = draw_networks(graph, layers.candidates, UNSEEN + 1, seed=1000)[1:]  # the first is always the narrowest
    unseen = Unseen([widths for widths in drawn if widths not in seen], at_once=AT_ONCE[device], beside=BESIDE[device])
    timer = BothTimer(**{each.name: getattr(probes.timer, each.name) for each in fields(probes.timer)}, unseen=unseen)
    probes = replace(probes, timer=timer, clock=unseen.clock)
    surveyed = survey_networks(graph, probes, layers, settings=settings, networks=PROBES)
    found = conclude(graph, surveyed, probes, case.target, protocol=settings.name)
    fewest = min(map(len, unseen.known[surveyed.probed.statistic].values()))
    if fewest < FEWEST_SESSIONS:
        raise SystemExit(f"{case.file.stem}: an unseen network ran {fewest} times; {FEWEST_SESSIONS} tell its noise")
    return Raw(
        graph=graph,
        survey=surveyed,
        environment=environment | dict(found.environment.facts),
        profile_seconds=found.seconds,
        truth_seconds=unseen.seconds,
        known=unseen.known,
        behind=unseen.ran_behind,
    )


def opened(case: Case) -> tuple[ChannelGraph, NetworkProbes]:
    """The network and what times it."""
    torch.manual_seed(0)
    torch.set_num_threads(case.threads)
    name, size = NETWORKS[case.network]
    model, example = tailor.load_model(name).eval(), torch.randn(1, 3, size, size)
    graph = tailor.trace(model, example)
    return graph, open_probes(model, graph, example, case.target, database=Database.memory())


def judge(case: Case, raw: Raw) -> dict[str, Any]:
    """Fit the latency model to what the profile measured, and compare every way of predicting the unseen networks."""
    graph, surveyed = raw.graph, raw.survey
    fit = fit_latency(graph, surveyed.lone, surveyed.probed, surveyed.dense_ns, batch_size=case.batch, seed=0)
    unseen = list(raw.truth)
    ns = np.array([raw.truth[widths][0] * surveyed.dense_ns for widths in unseen], dtype=float)
    told = [fit.latency.predict(widths) for widths in unseen]
    predicted = {"tailor": [float(estimate.ns) for estimate in told]}
    predicted |= {method: [float(ns) for ns in predictor(raw, unseen)] for method, predictor in OTHERS.items()}
    return {
        "case": asdict(case),
        "environment": raw.environment,
        "fitted_at": collect()["commit"],
        "model": model_name(fit),
        "statistic": surveyed.probed.statistic,
        "dense_ms": surveyed.dense_ns / 1e6,
        "resolution": surveyed.dense.resolution,
        "instance_noise": surveyed.probed.instance_noise,
        "probes": len(fit.networks),
        "layer_probes": surveyed.layer_probes,
        "profile_seconds": raw.profile_seconds,
        "truth_seconds": raw.truth_seconds,
        "drift": raw.drift,
        "truth_sessions": max(map(len, raw.sessions.values())),
        "truth_in": "the profile's" + (" and behind" if raw.behind else ""),
        "host_noise": fit.host_noise,
        "held_out": asdict(fit.error),
        "errors": {method: asdict(fit_error(np.array(told, float), ns)) for method, told in predicted.items()},
        "in_interval": statistics.fmean(x.low_ns <= value <= x.high_ns for x, value in zip(told, ns, strict=True)),
        "networks": [
            {
                "ms": value / 1e6,
                "noise": raw.truth[widths][1],
                **{method: predicted[method][i] / 1e6 for method in METHODS},
                "widths": dict(widths),
            }
            for i, (widths, value) in enumerate(zip(unseen, ns, strict=True))
        ],
    }


def model_name(fit: FittedLatency) -> str:
    """What the latency model is made of."""
    if fit.blend is not None:
        return f"{fit.blend.share:.0%} surfaces, {1 - fit.blend.share:.0%} lone layers"
    return "surfaces" if fit.surfaces is not None else "lone layers"


class Unseen:
    """Networks that the profile does not see, what their sessions said of them by statistic, and what they cost it."""

    def __init__(self, networks: Sequence[Widths], *, at_once: int, beside: int) -> None:
        self._turns, self._beside = itertools.cycle(networks), beside
        self._at_once = min(at_once, len(networks))
        self.seconds = 0.0
        self.ran_behind = False
        self.known: dict[str, dict[Widths, list[Seen]]] = {
            statistic: {widths: [] for widths in networks} for statistic in SHARES
        }

    def clock(self) -> float:
        """Seconds that went into anything else."""
        return time.perf_counter() - self.seconds

    def turn(self, beside: int) -> list[Widths]:
        """Those of the next session, which has so many others: half as many at most, none where these are few."""
        return [*itertools.islice(self._turns, min(self._at_once, beside // 2) if beside >= self._beside else 0)]

    def behind(self, others: Sequence[Widths]) -> list[list[Widths]]:
        """All but those that ran in a session, for sessions right after it; none where none ran in it."""
        left = [widths for widths in self.known["quiet"] if widths not in others] if others else []
        return [left[start : start + self._at_once] for start in range(0, len(left), self._at_once)]

    def keep(self, timed: TimedNetworks, networks: Sequence[Widths], beside: int) -> None:
        """What a session said of these, one of so many networks of the profile or right after it."""
        for statistic, times in timed.times.items():
            for widths in networks:
                self.known[statistic][widths].append(Seen(time=times[widths], beside=beside))


@dataclass(frozen=True, slots=True, kw_only=True)
class BothTimer(NetworkTimer):
    """Times unseen networks in the rounds of the profile's sessions, and tells it nothing of them."""

    unseen: Unseen

    def time(
        self, networks: Sequence[Widths], settings: TimingSettings, *, account: bool = False
    ) -> TimedNetworks:
        """What the profile asked for; the clock stands still for the others' share of making ready and of running."""
        started = time.perf_counter()
        others = self.unseen.turn(len(networks))
        timed = NetworkTimer.time(self, [*networks, *others], settings, account=account)
        spent = time.perf_counter() - started
        self.unseen.keep(timed, others, len(networks))
        theirs = {self.key(widths) for widths in others}
        ran = {each.subject: sum(each.samples_ns) for each in timed.measurements}
        share = sum(ns for key, ns in ran.items() if key in theirs) / sum(ran.values())
        rounds = timed.seconds or spent
        self.unseen.seconds += share * rounds + (spent - rounds) * len(theirs) / len(ran)
        self._time_behind(others, len(networks), settings)
        return replace(
            timed,
            times={name: {widths: own[widths] for widths in networks if widths in own}
                   for name, own in timed.times.items()},
            accounts={widths: own for widths, own in timed.accounts.items() if widths not in others},
            seconds=(1 - share) * rounds,
            measurements=tuple(each for each in timed.measurements if each.subject not in theirs),
        )

    def _time_behind(self, others: Sequence[Widths], beside: int, settings: TimingSettings) -> None:
        """Time what did not run with the profile's networks right after them; its clock stands still."""
        started = time.perf_counter()
        for networks in self.unseen.behind(others):
            self.unseen.keep(NetworkTimer.time(self, networks, settings), networks, beside)
            self.unseen.ran_behind = True
        self.unseen.seconds += time.perf_counter() - started


def by_flops(raw: Raw, networks: Sequence[Widths]) -> list[float]:
    """A line through the multiply-accumulates of the same probes, of least relative error."""
    macs, ns = np.array(_probes(raw)).T
    design = np.stack([np.ones_like(macs), macs], axis=1)
    (constant, slope), *_ = np.linalg.lstsq(design / ns[:, None], np.ones_like(ns), rcond=None)
    return [constant + slope * raw.graph.macs(widths) for widths in networks]


def by_three(raw: Raw, networks: Sequence[Widths]) -> list[float]:
    """Interpolation over multiply-accumulates between the narrowest, a middle and the dense network."""
    dense = raw.graph.macs(raw.graph.dense_widths)
    probes = sorted(_probes(raw))
    middle = min(probes, key=lambda probe: abs(probe[0] - dense / 2))
    macs, ns = zip(probes[0], middle, (dense, raw.survey.dense_ns), strict=True)
    return [np.interp(raw.graph.macs(widths), macs, ns) for widths in networks]


def by_lone_layers(raw: Raw, networks: Sequence[Widths]) -> list[float]:
    """The sum of lone layers at both their channel counts, as a share of the dense sum."""

    def total(widths: Widths) -> float:
        return sum(
            layer.calls * raw.survey.lone[layer.name].at(layer.inputs.size(widths), layer.outputs.size(widths))
            for layer in raw.graph.layers
        )

    whole = total(raw.graph.dense_widths)
    return [raw.survey.dense_ns * total(widths) / whole for widths in networks]


def by_outputs(raw: Raw, networks: Sequence[Widths]) -> list[float]:
    """The sum over layers of a table of output channels alone, inputs dense, as a share of the dense sum."""
    stairs = stairs_by_layer(raw.survey.staircases)

    def total(widths: Widths) -> float:
        return sum(
            layer.calls * stairs[layer.name, "out"].at(layer.outputs.size(widths))
            for layer in raw.graph.layers
            if (layer.name, "out") in stairs
        )

    whole = total(raw.graph.dense_widths)
    return [raw.survey.dense_ns * total(widths) / whole for widths in networks]


def _probes(raw: Raw) -> list[tuple[int, float]]:
    """Multiply-accumulates and ns of the networks that the profile measured."""
    times = raw.survey.probed.times
    return [(raw.graph.macs(widths), found.ratio * raw.survey.dense_ns) for widths, found in times.items()]


OTHERS = dict(zip(METHODS[1:], (by_flops, by_three, by_lone_layers, by_outputs), strict=True))


def tables() -> None:
    """Write prediction.md and prediction.svg from the results that are there."""
    everything = cases() + gpu_cases()
    hosts = sorted(path.name for path in PLACE.iterdir() if path.is_dir())
    apart = [replace(case, host=host) for host in hosts for case in everything]
    results = [json.loads(case.file.read_text()) for case in everything + apart if case.file.exists()]
    rows = [_row(result) for result in results]
    missing = [case.file.stem for case in everything if not case.file.exists()]
    header = (
        "network", "engine", "batch", "threads", "processor", "levels", "model", "dense ms", "probes",
        "lone layers timed", "minutes", "mean", "worst", "noise", "sessions", "which", "drift", "within 5 %",
        "in interval", "Kendall tau", *METHODS[1:], "goal",
    )
    run = [_anywhere(result) for result in results]
    kept = [_anywhere(result) for result in results if _kept(result)]
    nowhere = [case.file.stem for case in dict.fromkeys(run) if case not in kept]
    lines = [
        "# Prediction error on unseen pruned networks",
        f"Goal: mean at most {GOAL_MEAN:.1%}, all within {GOAL_WORST:.0%}, from at most 300 probes and 10 minutes. "
        f"Kept in {len(kept)} of {len(run)} runs, on one machine at least in {len(set(kept))} of {len(set(run))} cases"
        + (f"; on none: {', '.join(nowhere)}" if nowhere else "")
        + (f"; not run yet: {', '.join(missing)}." if missing else "."),
        f"{UNSEEN} unseen networks a case. Where a number of sessions stands, each was measured in so many at most, "
        "with fresh instances; drift is by how much the later half of its sessions differs from the earlier one, on "
        "average. "
        "Sessions are those of the profile's own networks, in the same rounds, and right behind them where rounds are "
        "slow, or (older) only the former, or only between them, as the column beside says. Rows without a number are "
        "older still: unseen networks were timed in 4 to "
        "10 sessions in changing company after the profile (some before it), those of a quiet host counting most, and "
        "drift is to sessions of another time. Probes are whole networks; the column noise is the median standard "
        "error of the unseen networks' measurements, by how their sessions scatter. A case stands here once per "
        "machine. Models that name no shares may be older than the blend of two; those fitted again are a later "
        "version's fit to the same measurements. Levels are those by which the "
        "profile's networks fit together better (before: that repeated better), quiet or usual; the oldest rows are by "
        "medians of paired ratios. The last columns are mean / worst error of the other ways of predicting these "
        "networks.",
        markdown_table(header, rows),
        "![Predicted against measured](prediction.svg)",
        "Environments, with the commit that was measured, are in `prediction/*.json`, one file a case.",
        "Run again: `python benchmarks/prediction.py`",
    ]
    (RESULTS / "prediction.md").write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    figure(results)


def _row(result: Mapping[str, Any]) -> tuple[object, ...]:
    case, own = result["case"], result["errors"]["tailor"]
    others = [result["errors"][method] for method in METHODS[1:]]
    return (
        case["network"], case["engine"], case["batch"], case["threads"], result["environment"]["cpu"],
        _levels(result), result["model"] + (", fitted again" if _fitted_again(result) else ""),
        f"{result['dense_ms']:.2f}", result["probes"], result["layer_probes"],
        f"{result['profile_seconds'] / 60:.1f}", f"**{own['mean']:.1%}**", f"{own['worst']:.1%}",
        f"{statistics.median(network['noise'] for network in result['networks']):.1%}",
        result.get("truth_sessions", ""),
        result.get("truth_in", "between" if "truth_sessions" in result else ""),
        "" if _drift(result) is None else f"{_drift(result):.1%}",
        f"{own['within_5']:.0%}", f"{result['in_interval']:.0%}", f"{own['kendall_tau']:.3f}",
        *(f"{other['mean']:.0%} / {other['worst']:.0%}" for other in others), "kept" if _kept(result) else "missed",
    )


def _anywhere(result: Mapping[str, Any]) -> Case:
    """The case, whichever machine it ran on."""
    return replace(Case(**result["case"]), host="")


def _kept(result: Mapping[str, Any]) -> bool:
    """Whether the goal was."""
    own = result["errors"]["tailor"]
    return own["mean"] <= GOAL_MEAN and own["worst"] <= GOAL_WORST and result["profile_seconds"] <= GOAL_SECONDS


def _fitted_again(result: Mapping[str, Any]) -> bool:
    """Whether another version than the one that measured has fitted the model."""
    measured_at = result["environment"]["commit"]
    return bool(result.get("fitted_at", measured_at) != measured_at)


def _drift(result: Mapping[str, Any]) -> float | None:
    """By how much the unseen networks' own times moved, where it was measured; older results name it otherwise."""
    return result.get("drift", result.get("measured_again"))


def _levels(result: Mapping[str, Any]) -> str:
    """Quiet or usual ones; before that was a choice, single calls were told by quiet levels and averages by medians."""
    before = "quiet" if result["environment"].get("sampling", "").startswith("single calls") else "medians"
    return str(result.get("statistic", before))


def figure(results: Sequence[Mapping[str, Any]]) -> None:
    """Predicted over measured against measured, one panel a case, bands at 5 and 10 %."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = 4
    count = -(-len(results) // columns)
    sheet, axes = pyplot.subplots(count, columns, figsize=(11, 2.3 * count), sharey=True, squeeze=False)
    for axis, result in itertools.zip_longest(axes.flat, results):
        if result is None:
            axis.set_visible(False)
            continue
        case, dense = result["case"], result["dense_ms"]
        shares = [network["ms"] / dense for network in result["networks"]]
        axis.axhspan(0.9, 1.1, color="#e8eef4")
        axis.axhspan(0.95, 1.05, color="#d3dfea")
        for method, colour, marker in (("flops", "#c9b28f", "x"), ("tailor", "#1f4e79", "o")):
            told = [network[method] / network["ms"] for network in result["networks"]]
            axis.plot(shares, told, marker, color=colour, markersize=3.5, label=method)
        axis.set_ylim(0.6, 1.4)
        where = f", {case['host']}" if case.get("host") else ""
        axis.set_title(f"{case['network']}, {case['engine']}, b{case['batch']} t{case['threads']}{where}", fontsize=8)
        axis.tick_params(labelsize=7)
    axes[0, 0].legend(fontsize=7, frameon=False)
    sheet.supxlabel("measured latency over the dense network's", fontsize=9)
    sheet.supylabel("predicted over measured", fontsize=9)
    sheet.tight_layout()
    sheet.savefig(RESULTS / "prediction.svg")


def main() -> None:
    """Run what is asked for and not there yet, then write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=tuple(NETWORKS))
    parser.add_argument("--engine", choices=tuple(ENGINES))
    parser.add_argument("--batch", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--host", default="", help="keep the results apart, in a folder of this name")
    parser.add_argument("--gpu", action="store_true", help="the cases that want a CUDA device")
    parser.add_argument("--again", action="store_true", help="also what is there")
    parser.add_argument("--refit", action="store_true", help="measure nothing: fit again what benchmarks/raw holds")
    parser.add_argument("--tables", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    asked = functools.partial(_asked, arguments)
    for usual in filter(asked, gpu_cases() if arguments.gpu else cases()) if not arguments.tables else ():
        case = replace(usual, host=arguments.host)
        if not case.raw.exists() if arguments.refit else case.file.exists() and not arguments.again:
            continue
        raw = pickle.loads(case.raw.read_bytes()) if arguments.refit else measure(case)
        for place in (case.file.parent, case.raw.parent):
            place.mkdir(parents=True, exist_ok=True)
        case.raw.write_bytes(pickle.dumps(raw))
        result = judge(case, raw)
        case.file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        own = result["errors"]["tailor"]
        print(f"{case.file.stem}: mean {own['mean']:.2%}, worst {own['worst']:.2%}, {result['profile_seconds']:.0f} s",
              flush=True)
    tables()


def _asked(arguments: argparse.Namespace, case: Case) -> bool:
    wanted = {name: getattr(arguments, name) for name in ("network", "engine", "batch", "threads")}
    return all(value is None or getattr(case, name) == value for name, value in wanted.items())


if __name__ == "__main__":
    main()
