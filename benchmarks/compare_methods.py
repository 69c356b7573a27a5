"""All methods side by side on real networks: ResNet-20 and ResNet-56 on CIFAR-10 (JPEG images), on a CPU engine.

    python benchmarks/compare_methods.py --data imagefolder:CIFAR10 \
        --resnet20 resnet20-cifar10.safetensors --resnet56 resnet56-cifar10.safetensors

ResNet-20: every method at 70 % of the dense latency, and six of them at 85 and 60 % with two seeds; ResNet-56: the six
at 70 %. Residual streams are free, every run ends with the same short fine-tuning. The methods are their recipes, made
smaller alike so that all of it takes about three hours on two cores: 512 images instead of 1024 judge a structure, two
steps of pruning while training are 20 iterations apart instead of 40, short trainings see 2048 images (1024 on
ResNet-56), MetaPruning's evolution has 300 structures for 1000, ABCPruner 6 sources and 3 cycles for 10 and 15.
NetAdapt keeps its own steps.

The runs in benchmarks/results took 6.5 hours of one core in all, beside two profiles (their last column, summed):
a little over three on two cores.

It is one `tailor compare` per plan, in one folder (--runs): stop it at any time and start it again with the same
command, or start it twice with different --methods once the profile is there, a core for each. After every plan, all
runs that are finished by then stand in the tables in benchmarks/results; where --runs is empty, runs that these hold
from the same hardware and versions count as finished. --dry runs every method in minutes, on a few hundred images and
with a handful of structures, to see that all of them work; nothing is copied then.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from environment import RESULTS
from small_methods import Sizes, in_small
from tailor.comparison import ComparedRun, CompareRequest, Comparison, compare
from tailor.comparison.writing import trade_figure, write_comparison
from tailor.console import ConsoleReporter
from tailor.engines import open_device
from tailor.methods import METHODS
from tailor.models import load_model
from tailor.pipeline import PruneRequest
from tailor.records import Budget
from tailor.report.style import save_figure
from tailor.serialize import read_record, write_record
from tailor.spec import Target
from tailor.training import Data, load_data, recipe_named

SIX = ("lacp", "halp", "sp-lamp", "netadapt", "l1", "uniform")
EPOCHS = 1
COMMAND = "python benchmarks/compare_methods.py --data imagefolder:CIFAR10 --resnet20 FILE --resnet56 FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One comparison: these methods at these budgets, each with so many seeds."""

    methods: Sequence[str]
    budgets: Sequence[str]
    seeds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is compared on one network; `name` is that of its results."""

    name: str
    model: str
    plans: Sequence[Plan]
    sizes: Sizes


STUDIES = (
    Study(
        name="compare_resnet20",
        model="tailor/resnet20-cifar10",
        plans=(
            Plan(methods=tuple(METHODS), budgets=("70%",), seeds=1),
            Plan(methods=SIX, budgets=("85%", "60%"), seeds=2),
        ),
        sizes=Sizes(
            cycles=10, population=30, trained_cycles=3, trained_population=6, interval=20, images=512,
            training_images=2048,
        ),
    ),
    Study(
        name="compare_resnet56",
        model="tailor/resnet56-cifar10",
        plans=(Plan(methods=SIX, budgets=("70%",), seeds=1),),
        sizes=Sizes(cycles=10, population=30, interval=20, images=512, training_images=1024),
    ),
)

DRY = Sizes(
    cycles=2, population=4, trained_cycles=1, trained_population=2, step=0.1, steps=5, structures=2, interval=1,
    images=64, training_images=64,
)


def shared(study: Study, options: argparse.Namespace) -> PruneRequest:
    """What all runs of a study have in common."""
    model = load_model(study.model, weights=getattr(options, study.model.partition("/")[2].partition("-")[0]))
    data = load_data(options.data)
    data = few(data) if options.dry else data
    example = torch.randn(1, *data.input_shape, generator=torch.Generator().manual_seed(0))
    return PruneRequest(
        model=model,
        model_spec=study.model,
        example_inputs=example,
        target=Target(engine=options.engine, threads=1, batch_size=1),
        budget=Budget.parse("70%"),
        data=data,
        data_spec=options.data.partition(":")[0],
        residual="free",
        recipe=recipe_named("short", epochs=1 if options.dry else EPOCHS),
        networks=24 if options.dry else 160,
        protocol="quick" if options.dry else "default",
        out=options.runs / study.name,
        command=COMMAND,
    )


def few(data: Data) -> Data:
    """A part of the data for a dry run."""
    data = data.limited(train=256, heldout=64)
    return replace(data, test=data.test.subset(torch.arange(min(128, data.count("test")))))


def comparisons(study: Study, options: argparse.Namespace) -> Iterator[Comparison]:
    """After each plan, all that is finished."""
    asked = shared(study, options)
    wanted = None if options.methods is None else options.methods.split(",")
    sizes = DRY if options.dry else study.sizes
    if not options.dry:
        restore(study.name, asked)
    for plan in study.plans:
        methods = [in_small(name, sizes) for name in plan.methods if wanted is None or name in wanted]
        if not methods:
            continue
        budgets = [Budget.parse(text) for text in plan.budgets]
        request = CompareRequest(shared=asked, methods=methods, budgets=budgets, seeds=range(plan.seeds))
        with ConsoleReporter() as console:
            found = compare(request, console=console)
        yield replace(found, runs=finished(study, asked.out))


def folders(study: Study) -> list[str]:
    """The folder of every run that is planned, in order."""
    return [
        f"{method}-{budget.replace('%', 'pc')}-{seed}"
        for plan in study.plans for budget in plan.budgets for seed in range(plan.seeds) for method in plan.methods
    ]


def finished(study: Study, place: Path) -> tuple[ComparedRun, ...]:
    """Every planned run that has ended, also those of another process."""
    stored = [place / name / "compared.json" for name in folders(study)]
    return tuple(read_record(path, ComparedRun) for path in stored if path.exists())


def restore(name: str, asked: PruneRequest) -> None:
    """Take the published runs of this environment for finished where the folder does not have them."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return
    published = read_record(path, Comparison)
    if published.environment.key != open_device(asked.target).environment().key:
        return
    for run in published.runs:
        stored = asked.out / run.folder / "compared.json"
        if not stored.parent.exists():
            write_record(stored, run)


def publish(name: str, folder: Path, found: Comparison) -> None:
    """Put the tables and the plot among the benchmark's results."""
    RESULTS.mkdir(exist_ok=True)
    for ending in ("json", "md"):
        shutil.copyfile(folder / f"compare.{ending}", RESULTS / f"{name}.{ending}")
    save_figure(trade_figure(found), RESULTS / f"{name}.svg")


def main() -> None:
    """Run the studies whose weights were given."""
    description = (__doc__ or "").partition("\n\n")[0]
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", required=True, help="what `tailor prune --data` takes")
    parser.add_argument("--resnet20", type=Path, help="weights of ResNet-20")
    parser.add_argument("--resnet56", type=Path, help="weights of ResNet-56")
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--runs", type=Path, default=Path("runs/compare_methods"))
    parser.add_argument("--methods", help="only these, with commas")
    parser.add_argument("--dry", action="store_true", help="see that every method works")
    options = parser.parse_args()
    for study in STUDIES:
        if getattr(options, study.model.partition("/")[2].partition("-")[0]) is None:
            continue
        for found in comparisons(study, options):
            write_comparison(options.runs / study.name, found)
            if not options.dry:
                publish(study.name, options.runs / study.name, found)


if __name__ == "__main__":
    main()
