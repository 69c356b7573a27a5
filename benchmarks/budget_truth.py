"""Is a budget that was promised kept? Twenty prunings without fine-tuning, each measured again by another process.

    python benchmarks/budget_truth.py            # goes on where it was stopped

Networks have random weights and are scored on a few of scikit-learn's digits: their accuracy means nothing here, their
latency everything. A second, independent process judges each result anew; its verdict is the one that counts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

import tailor
from environment import RESULTS, collect, markdown_table
from tailor.console import ConsoleReporter
from tailor.errors import BudgetUnreachableError
from tailor.latency.profile import Profile
from tailor.models import input_shape
from tailor.pipeline import PruneRequest, prune
from tailor.records import Budget, Verdict
from tailor.serialize import read_record
from tailor.spec import Target
from tailor.timing import settings_named
from tailor.training import load_data, recipe_named
from tailor.verify import VerifyJob, outputs_on, verify

TARGETS = (
    ("tailor/resnet56-cifar10", Target(engine="onnxruntime")),
    ("tailor/resnet56-cifar10", Target(engine="openvino", batch_size=4)),
    ("tailor/vgg16-cifar10", Target(engine="openvino")),
    ("tailor/resnet20-cifar10", Target()),
    ("tailor/vgg16-cifar10@0.5", Target(layout="channels_last")),
)
BUDGETS = ("40%", "55%", "70%", "80%")
GOAL = 19


@dataclass(frozen=True)
class Run:
    """One pruning and what two processes said of it."""

    model: str
    target: Target
    budget: str

    @property
    def name(self) -> str:
        short = self.model.removeprefix("tailor/").replace("@", "-")
        where = f"{self.target.engine}-{self.target.layout}-b{self.target.batch_size}"
        return f"{short}-{where}-{self.budget.removesuffix('%')}"

    def done(self, place: Path) -> dict[str, Any]:
        """Prune, and let a second process judge the saved network."""
        started = time.perf_counter()
        torch.manual_seed(0)
        model = tailor.load_model(self.model).eval()
        example = torch.randn(1, *input_shape(self.model, model), generator=torch.Generator().manual_seed(0))
        folder = place / self.name
        request = PruneRequest(
            model=model,
            model_spec=self.model,
            example_inputs=example,
            target=self.target,
            budget=Budget.parse(self.budget),
            data=load_data("digits").limited(train=256, heldout=64),
            data_spec="digits",
            recipe=recipe_named("none"),
            residual="free",
            cycles=4,
            population=15,
            networks=150,
            out=folder,
            resume=folder.exists(),
            database=place / "measurements.sqlite",
        )
        try:
            with ConsoleReporter() as console:
                result = prune(request, console=console)
        except BudgetUnreachableError as error:
            return {"first": "UNREACHABLE", "second": "UNREACHABLE", "reason": str(error)}
        found = read_record(folder / "profile.json", Profile)
        job = VerifyJob(
            dense=model,
            folder=folder,
            example_inputs=example,
            expected=outputs_on(result.model, example),
            target=self.target,
            budget=request.budget,
            settings=replace(settings_named("default"), seed=12345, statistic=result.verdict.statistic or "quiet"),
            instances=3,
            data=None,
            host_noise=found.host_noise,
        )
        again = verify(job)
        return {
            "first": result.verdict.outcome.value,
            "second": again.outcome.value,
            "first_ratio": _ratio(result.verdict),
            "second_ratio": _ratio(again),
            "host_noise": found.host_noise,
            "statistics": [result.verdict.statistic, again.statistic],
            "prediction_error": asdict(found.error),
            "seconds": time.perf_counter() - started,
            "reason": again.reason,
        }


def _ratio(verdict: Verdict) -> list[float]:
    return [verdict.ratio.value, verdict.ratio.low, verdict.ratio.high]


def main() -> None:
    """Run what is not there yet and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/budget-truth"))
    parser.add_argument("--only", default="", help="runs whose name has this; several processes may share the work")
    arguments = parser.parse_args()
    place = RESULTS / "budget_truth.json"
    wanted = [Run(model=model, target=target, budget=budget) for (model, target), budget in
              itertools.product(TARGETS, BUDGETS)]
    for run in wanted:
        if arguments.only not in run.name or run.name in _read(place)["runs"]:
            continue
        found = run.done(arguments.runs)
        report = _read(place)  # another process may have written meanwhile
        report["environment"] = report["environment"] or collect("onnxruntime", "openvino")
        report["runs"][run.name] = found
        place.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        print(run.name, found["second"], flush=True)
    report = _read(place)
    _write({**report, "runs": {run.name: report["runs"][run.name] for run in wanted if run.name in report["runs"]}})


def _read(place: Path) -> dict[str, Any]:
    if not place.exists():
        return {"environment": {}, "runs": {}}
    report: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return report


def _write(report: dict[str, Any]) -> None:
    rows = []
    for name, run in report["runs"].items():
        ratios = [
            "-" if key not in run else "{:.1%} ({:.1%} to {:.1%})".format(*run[key])
            for key in ("first_ratio", "second_ratio")
        ]
        state = f"{run['host_noise']:.1%}" if "host_noise" in run else "-"
        counted = ", then ".join(dict.fromkeys(run.get("statistics", ["-"])))
        rows.append((name, state, counted, run["first"], ratios[0], run["second"], ratios[1]))
    passed = sum(run["second"] == "PASS" for run in report["runs"].values())
    lines = [
        "# Budgets promised and measured again",
        f"{passed} of {len(rows)} PASS in a second, independent process (goal: {GOAL} of 20). Names: network, engine, "
        "layout, batch, budget in percent of the dense latency. The host's state is what it adds to the ratios of a "
        "session, as the profile saw it; intervals hold it. Calls counted are the quickest quarter (quiet) or three "
        "quarters (usual), in the first process, then in the second where it counted others.",
        markdown_table(
            ("run", "host's state", "calls counted", "verdict", "measured", "second verdict", "measured again"), rows
        ),
        "## Environment",
        markdown_table(("fact", "value"), list(report["environment"].items())),
        "Run again: `python benchmarks/budget_truth.py`",
    ]
    (RESULTS / "budget_truth.md").write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    print(lines[1])


if __name__ == "__main__":
    main()
