"""Reading a run folder: what is there, what is missing, what is damaged."""

from pathlib import Path

import pytest

import sample_run
from tailor.errors import RunFolderError, SchemaError
from tailor.records import Anchor, Stages
from tailor.report import sections
from tailor.report.folder import read_run
from tailor.serialize import write_record


def test_a_whole_folder_reads_back_as_written(run_folder: Path) -> None:
    run = read_run(run_folder)
    assert run.config == sample_run.config()
    assert run.verdict == sample_run.verdict()
    assert run.profile == sample_run.profile()
    assert list(run.trials) == sample_run.trials()
    assert run.missing == ()


def test_a_recipe_that_trains_nothing_leaves_no_gap(run_folder: Path) -> None:
    write_record(run_folder / "stages.json", Stages(dense=0.9, cut=0.5, recalibrated=0.8))
    (run_folder / "training.json").unlink()
    run = read_run(run_folder)
    assert run.missing == ()
    assert "Skipped" in sections.training(run).lead


def test_what_predictions_were_put_right_by_is_told_where_it_was_measured(run_folder: Path) -> None:
    def told() -> str:
        return str(sections.search(read_run(run_folder)).blocks)

    assert read_run(run_folder).anchor is None
    assert "predictions times" not in told()
    write_record(run_folder / "anchor.json", Anchor(factor=0.957, spread=0.0041, structures=4))
    assert "0.957, by 4 structures measured at the limit, up to 0.4 % from that" in told()
    again = Anchor(factor=0.983, spread=0.0121, structures=3, search=2, tried=40, seconds=80.0)
    write_record(run_folder / "anchor.json", again)
    assert "40 structures, 1 min 20 s, in vain" in told()
    assert "0.983, by 3 structures too slow at the end of search 1, up to 1.2 % from that" in told()
    assert read_run(run_folder).missing == ()


def test_missing_files_are_named(run_folder: Path) -> None:
    (run_folder / "stages.json").unlink()
    (run_folder / "trials.jsonl").unlink()
    run = read_run(run_folder)
    assert run.stages is None
    assert run.trials == ()
    assert run.missing == ("stages.json", "trials.jsonl")


def test_a_half_written_last_trial_is_left_out(run_folder: Path) -> None:
    path = run_folder / "trials.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    assert list(read_run(run_folder).trials) == sample_run.trials()[:-1]


def test_damage_inside_the_journal_is_an_error_with_its_name(run_folder: Path) -> None:
    path = run_folder / "trials.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[5] = lines[5][:30]
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(SchemaError, match=r"trials\.jsonl is damaged"):
        read_run(run_folder)


def test_a_damaged_record_is_an_error_with_its_name(run_folder: Path) -> None:
    (run_folder / "verdict.json").write_text("{")
    with pytest.raises(SchemaError, match=r"verdict\.json"):
        read_run(run_folder)


def test_no_folder_and_no_run_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="is no folder"):
        read_run(tmp_path / "absent")
    with pytest.raises(RunFolderError, match="holds no run"):
        read_run(tmp_path)
