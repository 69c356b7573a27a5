"""Every method alone against the clock: does it reach 60 % on ResNet-18, VGG-16, MobileNetV2 and DenseNet-121?

    python benchmarks/method_budgets.py --work runs/method_budgets               # all methods on all networks
    python benchmarks/method_budgets.py --networks ResNet-18 --methods lacp,mdp  # some of them

The networks have random weights, the data are 192 images of digits: budgets are the question, accuracy is not. Each
network is profiled once; methods run with small populations and few iterations, then cut, save and verify in a fresh
process as always. The table is written anew after every run, and a benchmark that was stopped goes on with the same
command: what is finished lies in the folder of `--work`. Takes one to three minutes per method and network (more for
NetAdapt and, on DenseNet-121, mdp: 21), and three to eight minutes per profile.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from environment import collect, markdown_table, write_results
from small_methods import Sizes, in_small
from tailor.channels import trace
from tailor.console import ConsoleReporter
from tailor.database import Database
from tailor.errors import TailorError
from tailor.latency.profile import Profile
from tailor.methods import METHODS
from tailor.models import load_model
from tailor.pipeline import PruneRequest, prune
from tailor.profiling import profile
from tailor.records import Budget, Interval
from tailor.serialize import read_record, write_record
from tailor.spec import Target
from tailor.training import Data, load_data, recipe_named

NETWORKS: Mapping[str, tuple[Callable[[], nn.Module], int]] = {
    "ResNet-18": (lambda: load_model("tailor/resnet18-cifar10"), 32),
    "VGG-16": (lambda: load_model("tailor/vgg16-cifar10"), 32),
    "MobileNetV2": (lambda: torchvision.models.mobilenet_v2(num_classes=10), 128),
    "DenseNet-121": (lambda: torchvision.models.densenet121(num_classes=10), 96),
}
BUDGET = "60%"
SIZES = Sizes(
    cycles=2, population=8, trained_cycles=1, trained_population=2, step=0.1, steps=8, structures=4, interval=1,
    images=64, training_images=64,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one method came to on one network."""

    network: str
    method: str
    outcome: str
    reason: str
    ratio: Interval | None
    removed: int
    structures: int
    seconds: float


def profiled(name: str, place: Path, networks: int, target: Target) -> Profile:
    """The network's profile, from the folder when it is there; some probes lack branches, as mdp's answers do."""
    file = place / "profile.json"
    if file.exists():
        return read_record(file, Profile)
    model, x = opened(name)
    graph = trace(model, x, depth=True)
    with ConsoleReporter() as console:
        console.stage(f"profile {name}")
        found = profile(
            model, graph, x, target, database=Database(place.parent / "measurements.sqlite"), networks=networks,
            progress=console.progress, tell=console.say,
        )
    write_record(file, found)
    return found


def opened(name: str) -> tuple[nn.Module, Tensor]:
    """The network with the weights of seed 0, and an example."""
    maker, size = NETWORKS[name]
    torch.manual_seed(0)
    return maker().eval(), torch.randn(1, 3, size, size)


def images(name: str) -> Data:
    """A few digits at the network's input size."""
    _, size = NETWORKS[name]
    data = replace(load_data("digits", image_size=size), batch_size=8).limited(train=128, heldout=64)
    return replace(data, test=data.test.subset(torch.arange(64)))


def run(name: str, method: str, place: Path, found: Profile, target: Target) -> Row:
    """One method on one network, or what is known of it."""
    stored = place / f"{method}.json"
    if stored.exists():
        return read_record(stored, Row)
    model, x = opened(name)
    recipe = replace(recipe_named("none"), batch_size=8)
    started = time.perf_counter()
    request = PruneRequest(
        model=model, example_inputs=x, target=target, budget=Budget.parse(BUDGET), data=images(name), recipe=recipe,
        out=place / method, method=in_small(method, SIZES), profile=found, resume=(place / method).exists(),
        database=place.parent / "measurements.sqlite",
    )
    try:
        with ConsoleReporter() as console:
            result = prune(request, console=console)
    except TailorError as error:
        return Row(network=name, method=method, outcome="ERROR", reason=str(error), ratio=None, removed=0,
                   structures=0, seconds=time.perf_counter() - started)
    trials = (place / method / "trials.jsonl").read_text().splitlines()
    row = Row(
        network=name, method=method, outcome=result.verdict.outcome.value, reason=result.verdict.reason,
        ratio=result.verdict.ratio, removed=sum(not width for width in result.widths.values()),
        structures=len(trials) - 1, seconds=time.perf_counter() - started,
    )
    write_record(stored, row)
    return row


def write(rows: Sequence[Row], facts: Mapping[str, str], target: Target) -> None:
    """The table so far."""
    table = markdown_table(
        ("network", "method", "verdict", "latency over dense (95 % interval)", "groups removed", "structures", "s"),
        [
            (
                row.network, row.method, row.outcome,
                "-" if row.ratio is None else f"{row.ratio.value:.1%} ({row.ratio.low:.1%} to {row.ratio.high:.1%})",
                row.removed, row.structures, f"{row.seconds:.0f}",
            )
            for row in rows
        ],
    )
    passed = sum(row.outcome == "PASS" for row in rows)
    misses = [f"{row.network}, {row.method}: {row.outcome}, {row.reason}" for row in rows if row.outcome != "PASS"]
    write_results(
        "method_budgets",
        {"environment": dict(facts), "budget": BUDGET, "target": str(target), "rows": [asdict(row) for row in rows]},
        title=f"Every method alone at {BUDGET} of the dense latency",
        tables=[
            f"{passed} of {len(rows)} runs PASS on {target}. Runs that were finished before count: rows may be of"
            " several days, and of versions before the commit below.",
            table,
            *misses,
        ],
        command="python benchmarks/method_budgets.py",
    )


def main() -> None:
    """Run what is asked and not yet done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--engine", default="torch")
    parser.add_argument("--probes", type=int, default=96, help="whole networks per profile")
    parser.add_argument("--work", type=Path, default=Path("runs/method_budgets"))
    options = parser.parse_args()
    target = Target(engine=options.engine, threads=1, batch_size=1)
    facts, rows = collect("torchvision"), []
    for name in options.networks.split(","):
        place = options.work / name
        found = profiled(name, place, options.probes, target)
        for method in options.methods.split(","):
            rows.append(run(name, method, place, found, target))
            print(name, method, rows[-1].outcome, rows[-1].reason, flush=True)
            write(rows, facts, target)
    sys.exit(any(row.outcome != "PASS" for row in rows))


if __name__ == "__main__":
    main()
