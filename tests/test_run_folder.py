"""A run folder belongs to one run: begun once, resumed by the same options only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tailor.errors import RunFolderError
from tailor.records import Budget, RunConfig, SearchSummary
from tailor.run_folder import RunFolder
from tailor.spec import Target

CONFIG = RunConfig(
    model="tailor/resnet20-cifar",
    weights=None,
    data="digits",
    target=Target(),
    budget=Budget.parse("60%"),
    method="lacp",
    method_options={"elite": "10"},
    recipe="short",
    recipe_options={},
    protocol="default",
    seed=0,
    input_shape=(3, 32, 32),
    command="tailor prune ...",
    tailor_version="0.1.0",
)
SUMMARY = SearchSummary(structures=3, seconds=1.5, best=2, limit_ns=100, best_measured_ns=99)


def test_stored_stages_are_read_back(tmp_path: Path) -> None:
    folder = RunFolder.open(tmp_path / "run", CONFIG, resume=False)
    assert folder.stored("search", SearchSummary) is None
    folder.store("search", SUMMARY)
    again = RunFolder.open(tmp_path / "run", replace(CONFIG, command="tailor prune --resume"), resume=True)
    assert again.stored("search", SearchSummary) == SUMMARY


def test_resuming_where_nothing_is_begins_a_run(tmp_path: Path) -> None:
    RunFolder.open(tmp_path / "run", CONFIG, resume=True)
    assert (tmp_path / "run" / "config.json").exists()


def test_an_occupied_folder_is_never_overwritten(tmp_path: Path) -> None:
    RunFolder.open(tmp_path / "run", CONFIG, resume=False)
    with pytest.raises(RunFolderError, match="--resume"):
        RunFolder.open(tmp_path / "run", CONFIG, resume=False)


@pytest.mark.parametrize("change", [{"seed": 1}, {"budget": Budget.parse("5ms")}, {"target": Target(threads=2)}])
def test_another_run_cannot_resume_it(tmp_path: Path, change: dict[str, object]) -> None:
    RunFolder.open(tmp_path / "run", CONFIG, resume=False)
    with pytest.raises(RunFolderError, match=next(iter(change))):
        RunFolder.open(tmp_path / "run", replace(CONFIG, **change), resume=True)  # type: ignore[arg-type]


def test_somebody_elses_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    for resume in (False, True):
        with pytest.raises(RunFolderError, match="--out"):
            RunFolder.open(tmp_path, CONFIG, resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(RunFolderError, match="is a file"):
        RunFolder.open(tmp_path / "run", CONFIG, resume=False)
