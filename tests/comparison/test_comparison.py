"""Methods run from one start and one profile, failures are rows, and a stopped comparison goes on."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tailor.comparison import CompareRequest, Comparison, compare
from tailor.console import SilentReporter
from tailor.errors import InvalidOptionError, RunFolderError, UnknownNameError
from tailor.pipeline import PruneRequest
from tailor.records import Budget
from tailor.serialize import read_record
from tailor.spec import Target
from tailor.training import load_data, recipe_named
from tiny_net import make

X = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def request(out: Path, **changes: object) -> CompareRequest:
    shared = PruneRequest(
        model=make(),
        example_inputs=X,
        target=Target(threads=1),
        budget=Budget.parse("50%"),
        data=load_data("digits").limited(train=256, heldout=64),
        recipe=recipe_named("none"),
        networks=12,
        protocol="quick",
        out=out,
        database=out.parent / "measurements.sqlite",
    )
    asked = {"methods": ("uniform", "sp-lamp"), "budgets": [Budget.parse("90%"), Budget.parse("2%")]} | changes
    return CompareRequest(shared=shared, **asked)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare") / "out"


@pytest.fixture(scope="module")
def finished(place: Path) -> Comparison:
    return compare(request(place), console=SilentReporter())


def test_every_method_and_budget_is_a_row_and_what_cannot_be_reached_says_so(finished: Comparison) -> None:
    assert [(run.budget, run.method) for run in finished.runs] == [
        ("90%", "uniform"), ("90%", "sp-lamp"), ("2%", "uniform"), ("2%", "sp-lamp"),
    ]
    for run in finished.runs[:2]:
        assert run.outcome in {"PASS", "FAIL", "UNDECIDED"}
        assert run.ratio is not None
        assert run.macs is not None
        assert run.macs[1] < run.macs[0]
    for run in finished.runs[2:]:
        assert run.outcome == "ERROR"
        assert "2%" in run.reason


def test_all_runs_stand_on_one_profile(finished: Comparison, place: Path) -> None:
    profiles = {(place / run.folder / "profile.json").read_bytes() for run in finished.runs[:2]}
    assert profiles == {(place / "profile" / "profile.json").read_bytes()}


def test_tables_are_there_for_people_and_programs(finished: Comparison, place: Path) -> None:
    assert read_record(place / "compare.json", Comparison) == finished
    rows = list(csv.DictReader((place / "compare.csv").open()))
    assert [row["method"] for row in rows] == [run.method for run in finished.runs]
    assert float(rows[0]["ratio"]) == pytest.approx(finished.runs[0].ratio.value)  # type: ignore[union-attr]
    assert rows[2]["ratio"] == ""
    page, text = (place / "compare.html").read_text(), (place / "compare.md").read_text()
    for word in ("uniform", "sp-lamp", "90%", "ERROR"):
        assert word in page
        assert word in text
    assert "<svg" in page


def test_a_comparison_goes_on_where_it_was(finished: Comparison, place: Path) -> None:
    (place / finished.runs[1].folder / "compared.json").unlink()
    before = (place / finished.runs[0].folder / "trials.jsonl").stat().st_mtime_ns
    again = compare(request(place), console=SilentReporter())
    assert (place / finished.runs[0].folder / "trials.jsonl").stat().st_mtime_ns == before
    assert again.runs[0] == finished.runs[0]
    assert again.runs[1].macs == finished.runs[1].macs  # only judged anew
    assert json.loads((place / "compare.json").read_text())["type"] == "Comparison"


def test_methods_may_be_added_later_but_not_another_fine_tuning(finished: Comparison, place: Path) -> None:
    wider = request(place, methods=("l1", "uniform"), budgets=[Budget.parse("2%")])
    found = compare(wider, console=SilentReporter())
    assert [run.method for run in found.runs] == ["l1", "uniform"]
    assert found.runs[1] == finished.runs[2]
    other = replace(wider, shared=replace(wider.shared, recipe=recipe_named("short", epochs=1)))
    with pytest.raises(RunFolderError, match="was begun with recipe none, not short"):
        compare(other, console=SilentReporter())


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"methods": ()}, InvalidOptionError, "no method to compare"),
        ({"methods": ("lacp", "lacp")}, InvalidOptionError, "a method is named twice: lacp, lacp"),
        ({"budgets": []}, InvalidOptionError, "no budget to compare"),
        ({"methods": ("lcap",)}, UnknownNameError, "did you mean 'lacp'"),
    ],
)
def test_nothing_to_compare_is_refused(
    changes: dict[str, object], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        compare(request(tmp_path / "out", **changes), console=SilentReporter())
    assert not (tmp_path / "out").exists()
