"""Whether the latency of a network is a sum over its layers, and how much of it widths can tell at all.

    python benchmarks/additive.py
    python benchmarks/additive.py --host NAME       # keep the results beside another machine's
    python benchmarks/additive.py --tables          # the tables from the results there are

Three experiments on a chain of layers, each network as fresh instances in shuffled rounds:

- Exchanged halves. Two random networks that share one width exchange all layers behind it. Every layer keeps its
  channels, so if latencies were sums, the two new networks would together take what the two old ones took. Beside it,
  what the latency model of a profile that ran before says of the same networks.
- Layers in other company. The engine's own account of the same networks: what a layer takes when the rest of its
  network takes longer or shorter than before.
- The same blocks. Networks whose widths stay inside the same blocks of sixteen, in fresh processes: what still differs
  between them, again and again, is nothing that a model over padded widths could tell.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

import tailor
from environment import RESULTS, collect, markdown_table, write_results
from tailor.engines import open_device
from tailor.engines.subjects import network_subject
from tailor.errors import MeasurementError
from tailor.latency.accounts import NetworkAccount, settle
from tailor.latency.profile import Profile
from tailor.models import input_shape
from tailor.profiling.networks import build_widths
from tailor.protocols import Subject
from tailor.records import Measurement
from tailor.spec import ChannelGraph, Target, Widths
from tailor.timing import counted, quickest_interval, settings_named

CASES = {
    "vgg16 openvino": ("tailor/vgg16-cifar10", Target(engine="openvino")),
    "vgg16 onnxruntime": ("tailor/vgg16-cifar10", Target(engine="onnxruntime")),
    "vgg16 torch": ("tailor/vgg16-cifar10", Target()),
}
INSTANCES, ROUNDS, ACCOUNT_SECONDS = 4, 24, 0.3
SPREAD = 0.2  # standard deviation of the shares of one network's groups
BLOCK, IN_BLOCKS, PROCESSES = 16, 12, 3
FEWEST_PAIRS = 4


@dataclass(frozen=True, kw_only=True)
class Network:
    """What a case is about: the model, its groups in the order of the layers, and where it runs."""

    model: torch.nn.Module
    graph: ChannelGraph
    example: torch.Tensor
    target: Target

    @classmethod
    def opened(cls, case: str) -> Network:
        """The case by name."""
        name, target = CASES[case]
        torch.manual_seed(0)
        model = tailor.load_model(name).eval()
        example = torch.randn(1, *input_shape(name, model))
        return cls(model=model, graph=tailor.trace(model, example), example=example, target=target)

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Names and widths of the groups that can be cut."""
        return [(group.name, group.width) for group in self.graph.groups if not group.pinned]

    def profiled(self) -> Profile:
        """A profile from nothing."""
        with tempfile.TemporaryDirectory() as place:
            return tailor.profile(self.model, self.example, self.target, database=Path(place) / "measurements.sqlite")

    def subject(self, key: str, widths: Widths) -> Subject:
        """The network of these widths, ready to be timed."""
        return network_subject(key, build_widths(self.model, self.graph, widths), self.example, 1)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a session says of one network: latency (ns) and its relative standard error, and the engine's account."""

    ns: float
    error: float
    account: NetworkAccount | None


def timed(network: Network, every: Sequence[Widths], seed: int) -> list[Told]:
    """The networks as fresh instances in one session, in their order."""
    order = random.Random(seed).sample(range(len(every)), len(every))
    subjects = [network.subject(f"{place} #{copy}", every[place]) for copy in range(INSTANCES) for place in order]
    settings = replace(
        settings_named("default"), seed=seed, min_rounds=ROUNDS, max_rounds=ROUNDS, max_seconds=600.0, paired=True
    )
    measurements, nodes = open_device(network.target).account(subjects, settings, ACCOUNT_SECONDS)
    session: dict[str, Measurement] = {each.subject: each for each in measurements}
    failed = [each for each in measurements if each.failure is not None]
    if failed:
        raise MeasurementError(f"{failed[0].subject} could not be timed: {failed[0].failure}")
    samples = counted(session, "quiet")
    layers = [layer.name for layer in network.graph.layers]
    found = []
    for place in range(len(every)):
        keys = [f"{place} #{copy}" for copy in range(INSTANCES)]
        logs = [math.log(quickest_interval(samples[key], "quiet").value) for key in keys]
        accounts = [told for key in keys if key in nodes and (told := settle(nodes[key], layers)) is not None]
        ns, error = math.exp(statistics.fmean(logs)), statistics.stdev(logs) / math.sqrt(len(logs))
        found.append(Told(ns=ns, error=error, account=divided(accounts, ns) if accounts else None))
    return found


def divided(accounts: Sequence[NetworkAccount], ns: float) -> NetworkAccount:
    """How a network's latency is divided: accounts tell the shares, in moments of their own, and not how much it is."""
    middle = sorted(accounts, key=lambda account: account.ns)[len(accounts) // 2]
    return middle.times(ns / middle.ns)


# Exchanged halves ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two networks and the two that exchanging their halves makes of them, in ns.

    `interplay` is how much longer the new ones take together than the old ones (log ratio), `error` its standard error,
    `predicted` what the latency model says of it.
    """

    old: tuple[float, float]
    new: tuple[float, float]
    interplay: float
    error: float
    predicted: float

    @property
    def unlike(self) -> float:
        """How far the old networks are apart in latency (log ratio)."""
        return abs(math.log(self.old[0] / self.old[1]))


@dataclass(frozen=True, kw_only=True)
class Company:
    """A layer in two networks in which it is the same: what it takes, and what all the others take (log ratios)."""

    layer: str
    share: float  # of the first network's account
    own: float
    others: float


def exchanged(network: Network, seed: int) -> list[Widths]:
    """Two networks that share the width of one group, and both with the other's layers behind it."""
    draw, groups = random.Random(seed), network.groups
    first, second = _random_widths(draw, groups), _random_widths(draw, groups)
    cut = draw.randrange(3, len(groups) - 3)
    second[groups[cut][0]] = first[groups[cut][0]]
    before = {name for name, _ in groups[: cut + 1]}

    def joined(front: Mapping[str, int], back: Mapping[str, int]) -> dict[str, int]:
        return {name: (front if name in before else back)[name] for name, _ in groups}

    every = (first, second, joined(first, second), joined(second, first))
    return [Widths({**network.graph.dense_widths, **widths}) for widths in every]


def _random_widths(draw: random.Random, groups: Sequence[tuple[str, int]]) -> dict[str, int]:
    middle_share = draw.uniform(0.2, 0.85)
    shares = {name: min(1.0, max(0.05, draw.gauss(middle_share, SPREAD))) for name, _ in groups}
    return {name: max(1, round(width * shares[name])) for name, width in groups}


def pair_of(told: Sequence[Told], predicted: Sequence[int]) -> Pair:
    """What the session and the model (in ns) say of the four networks, old ones first."""
    first, second, third, fourth = told
    old, new = first.ns + second.ns, third.ns + fourth.ns
    off = [math.hypot(one.ns * one.error, two.ns * two.error) for one, two in ((first, second), (third, fourth))]
    return Pair(
        old=(first.ns, second.ns),
        new=(third.ns, fourth.ns),
        interplay=math.log(new / old),
        error=math.hypot(off[0] / old, off[1] / new),
        predicted=math.log(sum(predicted[2:]) / sum(predicted[:2])),
    )


def company_of(network: Network, every: Sequence[Widths], told: Sequence[Told]) -> list[Company]:
    """Every layer that an old network has in common with a new one, by the engine's accounts; none without accounts."""
    found = []
    for old, new in ((0, 2), (0, 3), (1, 2), (1, 3)):
        one, other = told[old].account, told[new].account
        if one is None or other is None:
            continue
        for layer in network.graph.layers:
            named = layer.name in one.layers and layer.name in other.layers
            if not named or layer.at(every[old]) != layer.at(every[new]):
                continue
            before, after = one.layers[layer.name].ns, other.layers[layer.name].ns
            found.append(
                Company(
                    layer=layer.name,
                    share=before / one.ns,
                    own=math.log(after / before),
                    others=math.log((other.ns - after) / (one.ns - before)),
                )
            )
    return found


def slope(company: Sequence[Company]) -> tuple[float, float]:
    """Of a layer's log latency over that of all others, and its standard error by leaving out one layer at a time."""
    own, others = (np.array([getattr(each, name) for each in company]) for name in ("own", "others"))
    layers = sorted({each.layer for each in company})
    member = np.array([layers.index(each.layer) for each in company])
    without = [_slope(own[member != layer], others[member != layer]) for layer in range(len(layers))]
    spread = statistics.pvariance(without) * (len(layers) - 1)
    return _slope(own, others), math.sqrt(spread)


def _slope(own: np.ndarray, others: np.ndarray) -> float:
    return float(own @ others / (others @ others))


# The same blocks ----------------------------------------------------------------------------------------------------


def in_blocks(network: Network, seed: int) -> list[Widths]:
    """A random network whose widths are multiples of sixteen, and others up to seven channels below each of them."""
    draw = random.Random(seed)
    whole = {name: max(BLOCK, round(width * draw.uniform(0.25, 0.9) / BLOCK) * BLOCK) for name, width in network.groups}
    below = [{name: width - draw.randrange(BLOCK // 2) for name, width in whole.items()} for _ in range(IN_BLOCKS - 1)]
    return [Widths({**network.graph.dense_widths, **widths}) for widths in (whole, *below)]


def again(case: str, seed: int) -> list[list[float]]:
    """Log latencies of the networks in the same blocks, less their mean, one row per fresh process."""
    rows = []
    for process in range(PROCESSES):
        asked = ["--blocks", case, "--seed", str(seed), "--process", str(process)]
        command = [sys.executable, str(Path(__file__)), *asked]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        logs = json.loads(output.splitlines()[-1])
        rows.append([log - statistics.fmean(logs) for log in logs])
    return rows


def reproducible(rows: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Standard deviation between the networks that is there in every process, and within one network between them."""
    within = statistics.fmean(statistics.variance(column) for column in zip(*rows, strict=True))
    means = [statistics.fmean(column) for column in zip(*rows, strict=True)]
    return math.sqrt(max(0.0, statistics.variance(means) - within / len(rows))), math.sqrt(within)


# Results ------------------------------------------------------------------------------------------------------------


def tables(report: Mapping[str, dict]) -> list[str]:
    """One per experiment."""
    sums, told, layers, blocks = [], [], [], []
    for case, found in report.items():
        pairs = [Pair(**{**each, "old": tuple(each["old"]), "new": tuple(each["new"])}) for each in found["pairs"]]
        alike = statistics.median(pair.unlike for pair in pairs)
        seen, predicted = [pair.interplay for pair in pairs], [pair.predicted for pair in pairs]
        told.append(
            (
                case, f"{statistics.correlation(seen, predicted):.2f}",
                f"{statistics.linear_regression(predicted, seen).slope:.1f}", f"{rms(seen):.1%}",
                f"{rms([one - other for one, other in zip(seen, predicted, strict=True)]):.1%}",
                f"{rms([pair.error for pair in pairs]):.1%}",
            )
        )  # fmt: skip
        for which, chosen in (
            ("all", pairs),
            ("alike", [pair for pair in pairs if pair.unlike <= alike]),
            ("unlike", [pair for pair in pairs if pair.unlike > alike]),
        ):
            values = [pair.interplay for pair in chosen]
            error = statistics.stdev(values) / math.sqrt(len(values))
            sums.append(
                (
                    case, f"{which} ({len(chosen)})", f"{statistics.fmean(pair.unlike for pair in chosen):.2f}",
                    f"{100 * statistics.fmean(values):+.1f} ± {100 * error:.1f} %",
                    f"{100 * statistics.fmean(pair.predicted for pair in chosen):+.1f} %",
                    f"{100 * min(values):+.1f} to {100 * max(values):+.1f} %",
                    f"{rms([pair.error for pair in chosen]):.1%}",
                )
            )  # fmt: skip
        company = [Company(**each) for each in found["company"]]
        for which, chosen in (
            ("all", company),
            ("below 3 % of their network", [each for each in company if each.share < 0.03]),
            ("above 10 %", [each for each in company if each.share > 0.1]),
        ):
            if len({each.layer for each in chosen}) > 1:
                value, error = slope(chosen)
                layers.append((case, f"{which} ({len(chosen)})", f"{value:.3f} ± {error:.3f}", f"{2**value - 1:+.1%}"))
        between, within = reproducible(found["blocks"])
        blocks.append((case, f"{100 * between:.1f} %", f"{100 * within:.1f} %"))
    exchanged_header = (
        "case", "pairs", "how unlike the two are (log ratio)", "new over old, less 1", "as predicted", "from, to",
        "error of one pair",
    )  # fmt: skip
    told_header = (
        "case", "correlation of measured and predicted", "measured per predicted", "root mean square, measured",
        "measured less predicted", "error",
    )  # fmt: skip
    company_header = ("case", "layers", "log latency over that of all others", "when the others take twice as long")
    blocks_header = ("case", "between networks, again in every process", "within a network, between processes")
    return [
        "Exchanged halves: every layer keeps its channels, so of a sum nothing would change. The half of the pairs "
        "that are alike in latency stands apart from the other. ± is a standard error.",
        markdown_table(exchanged_header, sums),
        "The same pairs, as the latency model of a profile tells them:",
        markdown_table(told_header, told),
        "Layers in other company, by the engine's own accounts: the slope through the origin of how a layer's latency "
        "changes with that of all other layers of its network. The standard error leaves out one layer at a time.",
        markdown_table(company_header, layers),
        f"The same blocks: {IN_BLOCKS} networks within the same blocks of {BLOCK}, {PROCESSES} processes; standard "
        "deviations.",
        markdown_table(blocks_header, blocks),
    ]


def measured(case: str, first_seed: int, count: int) -> dict[str, list]:
    """All three experiments on one case."""
    network, pairs, company = Network.opened(case), [], []
    latency = network.profiled().latency
    for seed in range(first_seed, first_seed + count):
        every = exchanged(network, seed)
        told = timed(network, every, seed)
        pair = pair_of(told, [latency.predict(widths).ns for widths in every])
        pairs.append(pair)
        company += company_of(network, every, told)
        print(case, seed, f"{pair.interplay:+.3f} ± {pair.error:.3f}, as told {pair.predicted:+.3f}", flush=True)
    rows = again(case, first_seed)
    return {"pairs": [asdict(pair) for pair in pairs], "company": [asdict(each) for each in company], "blocks": rows}


def rms(values: Sequence[float]) -> float:
    """Root mean square."""
    return math.sqrt(statistics.fmean(value**2 for value in values))


def main() -> None:
    """Measure every case, or in a process of its own the networks of one in the same blocks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="")
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--case", action="append", choices=tuple(CASES), help="only this one; may be given again")
    parser.add_argument("--seed", type=int, default=10)
    parser.add_argument("--blocks", choices=tuple(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--process", type=int, default=0, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.pairs < FEWEST_PAIRS:
        parser.error(f"--pairs {asked.pairs}: {FEWEST_PAIRS} at least, for each half of them to have a standard error")
    if asked.blocks:
        network = Network.opened(asked.blocks)
        told = timed(network, in_blocks(network, asked.seed), asked.process)
        print(json.dumps([math.log(each.ns) for each in told]))
        return
    name = "additive" + (f"_{asked.host}" if asked.host else "")
    if asked.tables:
        report = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    else:
        environment = collect("onnxruntime", "openvino")
        cases = {case: measured(case, asked.seed, asked.pairs) for case in asked.case or CASES}
        report = {"environment": environment, "cases": cases}
    host = [f"--host {asked.host}"] if asked.host else []
    only = report["cases"] if len(report["cases"]) < len(CASES) else ()
    path = write_results(
        name,
        report,
        title="Whether the latency of a network is a sum over its layers",
        tables=tables(report["cases"]),
        command=" ".join(["python benchmarks/additive.py", *host, *(f'--case "{case}"' for case in only)]),
    )
    print(path)


if __name__ == "__main__":
    main()
