"""The whole line on a small real network: stored, resumed, killed and resumed, refused."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import tailor
from tailor.console import SilentReporter
from tailor.errors import (
    BudgetUnreachableError,
    DataError,
    InvalidBudgetError,
    InvalidOptionError,
    NothingToPruneError,
)
from tailor.latency.anchored import AnchoredLatency
from tailor.latency.profile import Profile
from tailor.methods import METHODS, candidate_widths
from tailor.pipeline import PruneRequest, PruneResult, prune
from tailor.pipeline.aim import margin
from tailor.pipeline.reach import within_reach
from tailor.records import NEAR, Anchor, Budget, Outcome, RunConfig, SearchSummary, Verdict, WidthsRecord
from tailor.search import SearchSpace
from tailor.serialize import read_record
from tailor.spec import Target, Widths
from tailor.training import Recipe, load_data, recipe_named
from tiny_net import make, rigid

X = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def request(out: Path, **changes: object) -> PruneRequest:
    asked = PruneRequest(
        model=make(),
        example_inputs=X,
        target=Target(threads=1),
        budget=Budget.parse("75%"),
        data=load_data("digits"),
        recipe=Recipe(name="test", epochs=1, learning_rate=0.01, batch_size=64),
        cycles=2,
        population=4,
        networks=12,
        protocol="quick",
        out=out,
        database=out.parent / "measurements.sqlite",
    )
    return replace(asked, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> PruneResult:
    return prune(request(tmp_path_factory.mktemp("line") / "run"), console=SilentReporter())


def profile_of(result: PruneResult) -> Profile:
    """What the run measured: where profiling is not what a test is about, it needs no other."""
    return read_record(result.out / "profile.json", Profile)


def test_a_run_leaves_everything_that_explains_it(finished: PruneResult) -> None:
    names = {path.name for path in finished.out.iterdir()}
    expected = {"config", "environment", "graph", "profile", "search", "widths", "keep", "stages", "training"}
    expected |= {"reductions", "verdict", "model"}
    assert {f"{name}.json" for name in expected} <= names
    assert {"trials.jsonl", "model.safetensors", "report.html", "report.md"} <= names
    origins = [json.loads(line)["origin"] for line in trials_in(finished.out)]
    own = [origin for origin in origins if not origin.startswith((NEAR, "earlier search"))]
    assert len(own) == min(2 * 4, feasible_structures(finished))


def feasible_structures(finished: PruneResult) -> int:
    """How many structures the search could choose from: the machine's stairs decide, and may leave few."""
    profiled = profile_of(finished)
    latency = AnchoredLatency(profiled.latency, read_record(finished.out / "anchor.json", Anchor).factor)
    candidates = candidate_widths(tailor.trace(make(), X), profiled.candidates, METHODS["lacp"])
    aim = round(0.75 * profiled.dense_ns * (1 - margin(profiled.resolution, profiled.host_noise)))
    space = SearchSpace(candidates, latency, within_reach(aim, latency, candidates))
    structures = (Widths(zip(candidates, each, strict=True)) for each in itertools.product(*candidates.values()))
    return sum(map(space.feasible, structures))


def test_the_search_saw_predictions_put_right_at_the_limit(finished: PruneResult) -> None:
    anchor = read_record(finished.out / "anchor.json", Anchor)
    plain = profile_of(finished).latency
    assert anchor.factor != 1.0
    for line in trials_in(finished.out):
        trial = json.loads(line)
        assert trial["latency"]["ns"] == round(anchor.factor * plain.predict(Widths(trial["widths"])).ns)


def test_the_result_is_smaller_and_says_so(finished: PruneResult) -> None:
    assert finished.reductions.macs[1] < finished.reductions.macs[0]
    assert finished.reductions.parameters[1] == sum(p.numel() for p in finished.model.parameters())
    assert finished.widths["stem.0"] == 32  # lacp keeps residual streams
    assert finished.verdict.equivalent
    assert finished.verdict.accuracy == pytest.approx(finished.stages.final, abs=0.003)
    if finished.verdict.outcome is Outcome.PASS:
        assert finished.verdict.ratio.high <= 0.75


def test_the_saved_network_is_the_result(finished: PruneResult) -> None:
    again = tailor.load(finished.out, make())
    for (name, saved), (_, own) in zip(again.named_parameters(), finished.model.named_parameters(), strict=True):
        assert torch.equal(saved, own), name
    torch.testing.assert_close(again(X), finished.model(X))


def test_resuming_a_finished_run_changes_nothing(finished: PruneResult) -> None:
    journal = (finished.out / "trials.jsonl").read_bytes()
    again = prune(request(finished.out, resume=True), console=SilentReporter())
    assert again.widths == finished.widths
    assert again.stages == finished.stages
    assert (finished.out / "trials.jsonl").read_bytes() == journal


def test_without_data_the_weights_decide_and_nothing_is_trained(finished: PruneResult, tmp_path: Path) -> None:
    profiled = replace(profile_of(finished), statistic="usual")
    asked = request(tmp_path / "run", data=None, recipe=recipe_named("none"), method="uniform", profile=profiled)
    asked = replace(asked, cycles=None, population=None, budget=Budget.parse("90%"))
    result = prune(asked, console=SilentReporter())
    assert result.verdict.statistic == "usual"  # the verdict is by what repeated in the profile
    assert result.stages is None
    assert result.reductions.accuracy is None
    assert result.verdict.accuracy is None
    assert result.verdict.equivalent
    own = make().state_dict()  # weights are the dense network's, those of the kept channels
    kept = torch.tensor(result.keep.kept["inner.0"])
    assert torch.equal(result.model.state_dict()["inner.1.running_mean"], own["inner.1.running_mean"][kept])
    assert torch.equal(result.model.state_dict()["inner.0.weight"], own["inner.0.weight"][kept])
    torch.testing.assert_close(tailor.load(result.out, make())(X), result.model(X))
    config = read_record(result.out / "config.json", RunConfig)
    assert (config.data, config.input_shape, config.method_options["fitness"]) == (None, (3, 32, 32), "kept-importance")
    told = (result.out / "report.md").read_text(encoding="utf-8")
    assert "Unknown: the run had no data." in told
    assert "This run folder lacks" not in told
    assert "importance kept" in told


def test_a_teacher_without_training_is_refused(tmp_path: Path) -> None:
    asked = request(tmp_path / "run", recipe=recipe_named("none"), distill=True)
    with pytest.raises(InvalidOptionError, match=r"asks for a teacher, .* trains no epoch; .* leave --distill out"):
        prune(asked, console=SilentReporter())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "halp"}, "halp prunes while the network trains, which needs data; .* one of lacp, sp-lamp"),
        ({"method": "mdp"}, "importance bn-taylor is observed on training images; give data, or choose l1"),
        ({"method": "hrank"}, "importance hrank is observed on training images"),
        ({"method": "netadapt"}, "netadapt trains every structure, which needs data"),
        ({"fitness": "recalibrated"}, "fitness recalibrated scores structures on images, which needs data"),
        ({"distill": True}, "a teacher is for training, which needs data; .* no --distill"),
        ({"recipe": recipe_named("short")}, "recipe short trains 6 epochs, which needs data; .* recipe none"),
    ],
)
def test_what_needs_data_is_refused_without(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    asked = request(tmp_path / "run", **{"data": None, "recipe": recipe_named("none"), **changes})
    with pytest.raises(DataError, match=message):
        prune(replace(asked, cycles=None, population=None), console=SilentReporter())
    assert not (tmp_path / "run").exists()


def test_an_unreachable_share_is_told_before_the_profile(tmp_path: Path) -> None:
    with pytest.raises(BudgetUnreachableError, match=r"budget 1% .*even the narrowest networks") as caught:
        prune(request(tmp_path / "run", budget=Budget.parse("1%")), console=SilentReporter())
    assert caught.value.exit_code == 3
    assert 0.01 < caught.value.value < 1  # the measured share of the narrowest network
    assert not (tmp_path / "run" / "profile.json").exists()


def test_an_unreachable_time_is_told_before_the_search(finished: PruneResult, tmp_path: Path) -> None:
    asked = request(tmp_path / "run", budget=Budget.parse("1us"), profile=profile_of(finished))
    with pytest.raises(BudgetUnreachableError, match=r"fastest network .* measures .* ms") as caught:
        prune(asked, console=SilentReporter())
    assert caught.value.exit_code == 3
    assert caught.value.value > 0  # the measured latency of the fastest network, in ns
    assert not (tmp_path / "run" / "trials.jsonl").exists()


def test_a_budget_that_dense_keeps_already_is_refused(finished: PruneResult, tmp_path: Path) -> None:
    asked = request(tmp_path / "run", budget=Budget.parse("10s"), profile=profile_of(finished))
    with pytest.raises(InvalidBudgetError, match="dense network already takes"):
        prune(asked, console=SilentReporter())


def test_nothing_to_prune_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(NothingToPruneError, match="network output"):
        prune(request(tmp_path / "run", model=rigid()), console=SilentReporter())
    assert not (tmp_path / "run").exists()


def test_bounds_that_leave_nothing_to_cut_say_so(tmp_path: Path) -> None:
    with pytest.raises(NothingToPruneError, match="a min_width of 200 and a quantum of 1 leave every group its dense"):
        prune(request(tmp_path / "run", min_width=200), console=SilentReporter())
    assert not (tmp_path / "run").exists()


def trials_in(folder: Path) -> list[str]:
    """The journal's whole lines after its first."""
    file = folder / "trials.jsonl"
    return file.read_text().split("\n")[1:-1] if file.exists() else []


def begun(out: Path, database: Path) -> subprocess.Popen[bytes]:
    net = Path(__file__).parent.parent / "tiny_net.py"
    sizes = "--cycles 4 --population 6 --networks 12"  # among all widths, however many steps the machine's stairs have
    method = f"--method metapruning-evolution {sizes} --recipe none --protocol quick"
    options = f"--data digits --budget 90% {method} --resume"  # kept with room to spare: no session is repeated
    command = [sys.executable, "-m", "tailor", "prune", f"{net}:make", *options.split(), "--out", str(out)]
    environment = {**os.environ, "TAILOR_DATABASE": str(database)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def trials_until(count: int, running: subprocess.Popen[bytes], folder: Path) -> list[str]:
    """What is in the journal as soon as it holds so many trials: what is measured later may have it begun anew."""
    deadline = time.monotonic() + 240
    while len(trials_in(folder)) < count and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    return trials_in(folder)[:count]


@pytest.mark.timeout(720)  # three runs, whose timing sessions last longer the noisier the machine is
def test_a_search_killed_in_the_middle_goes_on_like_an_uninterrupted_one(
    finished: PruneResult, tmp_path: Path
) -> None:
    killed, whole, database = tmp_path / "killed", tmp_path / "whole", finished.out.parent / "measurements.sqlite"
    with begun(killed, database) as running:
        trials_until(8, running, killed)
        running.send_signal(signal.SIGKILL)
    interrupted = trials_in(killed)
    assert 8 <= len(interrupted) < 24, "the kill must fall into the search"
    whole.mkdir()
    for name in ("config", "environment", "graph", "profile", "anchor"):  # the same predictions for both
        shutil.copy(killed / f"{name}.json", whole / f"{name}.json")
    with begun(whole, database) as running:
        uninterrupted = trials_until(24, running, whole)
        running.send_signal(signal.SIGKILL)
    with begun(killed, database) as running:
        resumed = trials_until(24, running, killed)

    def told(trials: list[str]) -> list[object]:
        each = [json.loads(line) for line in trials]
        return [(t["number"], t["origin"], t["widths"], t["latency"], t["score"]) for t in each]

    assert len(uninterrupted) == 24
    assert told(resumed) == told(uninterrupted)
    assert resumed[: len(interrupted)] == interrupted  # replayed, not evaluated again
    best = read_record(killed / "search.json", SearchSummary).best
    assert read_record(killed / "widths.json", WidthsRecord).pruned == json.loads(trials_in(killed)[best])["widths"]
    assert read_record(killed / "verdict.json", Verdict).equivalent


def test_recipe_none_still_recalibrates(finished: PruneResult, tmp_path: Path) -> None:
    profiled = profile_of(finished)
    asked = request(tmp_path / "run", recipe=recipe_named("none"), method="random", profile=profiled)
    stages = prune(asked, console=SilentReporter()).stages
    assert stages.fine_tuned is None
    assert stages.final == stages.recalibrated
