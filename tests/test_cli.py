"""The command line: right exit codes, errors in one line, nothing half-written, no torch before it is needed."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import sample_run
import tailor.pipeline
from tailor.cli import main
from tailor.console import Reporter
from tailor.errors import BudgetUnreachableError
from tailor.exporting import ExportReport
from tailor.latency.profile import Profile
from tailor.measuring import Timing
from tailor.measuring.doctor import Doctor
from tailor.measuring.engines import EngineComparison
from tailor.measuring.machine import machine_here
from tailor.methods import METHODS
from tailor.models import load_model
from tailor.pipeline import PruneRequest, PruneResult
from tailor.records import GraphSummary, Outcome, Reductions, Stages
from tailor.serialize import decode
from tailor.spec import KeepPlan, Target, Widths

FACTORY = '''
import torch
from torch import nn


def make():
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10),
    )
    model.input_shape = (3, 16, 16)
    return model


class Choosy(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.input_shape = nn.Conv2d(3, 4, 3), (3, 8, 8)

    def forward(self, x):
        x = self.conv(x)
        return x if float(x.sum()) > -1e9 else -x


def choosy():
    return Choosy()


def flat():
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
'''
PRUNE = ["prune", "tailor/resnet20-cifar", "--data", "digits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


class Runner:
    """Runs commands in this process, in an empty folder."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *words: str) -> Ended:
        with pytest.raises(SystemExit) as left:
            main(list(words))
        captured = self.capsys.readouterr()
        return Ended(code=int(left.value.code or 0), out=captured.out, err=captured.err)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAILOR_DATABASE", str(tmp_path / "measurements.sqlite"))
    monkeypatch.delenv("TAILOR_TRACEBACK", raising=False)
    (tmp_path / "nets.py").write_text(FACTORY)
    (tmp_path / "short.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")
    (tmp_path / "empty").mkdir()
    return Runner(capsys)


COMPARE = ["compare", "tailor/resnet20-cifar", "--data", "digits", "--budget", "60%"]
BAD = {
    "unknown model": (["inspect", "tailor/resnet21-cifar"], 2, "resnet2"),
    "unknown family": (["inspect", "resnet"], 2, "no model 'resnet'"),
    "unknown function": (["inspect", "nets.py:absent"], 2, "absent"),
    "missing weights": (["inspect", "tailor/resnet20-cifar", "--weights", "absent.pth"], 1, "absent.pth"),
    "truncated weights": (["inspect", "tailor/resnet20-cifar", "--weights", "short.safetensors"], 1, "short"),
    "zero budget": ([*PRUNE, "--budget", "0"], 2, "budget '0'"),
    "negative budget": ([*PRUNE, "--budget", "-5ms"], 2, "'-5ms' must be above zero"),
    "budget over the dense latency": ([*PRUNE, "--budget", "140%"], 2, "'140%' is no reduction"),
    "no budget": (PRUNE, 2, "--budget"),
    "empty data folder": (
        ["prune", "tailor/resnet20-cifar", "--data", "imagefolder:empty", "--budget", "60%"], 1, "empty",
    ),
    "unknown data": (["prune", "tailor/resnet20-cifar", "--data", "mnist5", "--budget", "60%"], 2, "mnist5"),
    "unknown method": ([*PRUNE, "--budget", "60%", "--method", "auto"], 2, "no method 'auto'"),
    "unknown recipe": ([*PRUNE, "--budget", "60%", "--recipe", "long"], 2, "no recipe 'long'"),
    "unknown latency mode": ([*PRUNE, "--budget", "60%", "--latency", "guessed"], 2, "guessed"),
    "unknown engine": (["measure", "tailor/resnet20-cifar", "--engine", "abacus"], 2, "abacus"),
    "unknown engine in a list": (["measure", "tailor/resnet20-cifar", "--engine", "torch,abacus"], 2, "'abacus'"),
    "an empty engine": (["measure", "tailor/resnet20-cifar", "--engine", "torch,"], 2, "empty name"),
    "several engines against another network": (
        ["measure", "tailor/resnet20-cifar", "--engine", "all", "--vs", "nets.py:make"], 2, "give one --engine",
    ),
    "one instance": (["measure", "tailor/resnet20-cifar", "--instances", "1"], 2, "x>=2"),
    "more threads than cores": (["measure", "tailor/resnet20-cifar", "--threads", "4096"], 2, "4096 threads"),
    "no such number format": (["measure", "tailor/resnet20-cifar", "--precision", "int3"], 2, "'int3'"),
    "a doctor of no device": (["doctor", "--device", "abacus"], 2, "no device 'abacus'"),
    "a doctor with more threads than cores": (["doctor", "--threads", "4096"], 2, "4096 threads"),
    "unknown protocol": (["measure", "tailor/resnet20-cifar", "--protocol", "stopwatch"], 2, "stopwatch"),
    "no threads": (["measure", "tailor/resnet20-cifar", "--threads", "0"], 2, "threads must be at least 1"),
    "no batch": (["measure", "tailor/resnet20-cifar", "--batch-size", "0"], 2, "batch_size must be at least 1"),
    "refused input": (["inspect", "tailor/resnet20-cifar", "--input", "4x32x32"], 1, "4"),
    "unknown figure": (["profile", "tailor/resnet20-cifar", "--plot", "stairs.docx"], 2, "stairs.docx"),
    "nothing to prune": (["prune", "nets.py:flat", "--data", "digits", "--budget", "60%"], 1, "can be pruned"),
    "a method that takes no population": (
        [*PRUNE, "--budget", "60%", "--method", "uniform", "--cycles", "3"], 2, "uniform has neither cycles",
    ),
    "a solver for no knapsack": ([*PRUNE, "--budget", "60%", "--solver", "exact"], 2, "evolution solves no knapsack"),
    "no such solver": ([*PRUNE, "--budget", "60%", "--method", "sp-lamp", "--solver", "guess"], 2, "'guess'"),
    "gradients without a gradient importance": (
        [*PRUNE, "--budget", "60%", "--method", "halp", "--importance", "l2"], 2, "must be bn-taylor",
    ),
    "an unknown method to compare": ([*COMPARE, "--methods", "lacp,lcap", "--out", "c"], 2, "did you mean 'lacp'"),
    "a method compared twice": ([*COMPARE, "--methods", "lacp,lacp", "--out", "c"], 2, "named twice"),
    "nowhere to compare": ([*COMPARE, "--methods", "lacp"], 2, "--out"),
    "folder in the way": ([*PRUNE, "--budget", "60%", "--out", "nets.py"], 1, "nets.py is a file"),
    "folder that cannot be made": ([*PRUNE, "--budget", "60%", "--out", "nets.py/x"], 1, "nets.py"),
    "unknown format": (["export", "nets.py:make", "--to", "onnx,tflite"], 2, "'tflite'"),
    "nothing to export": (["export", "empty"], 1, "holds no saved network"),
    "no such run": (["report", "absent"], 1, "absent"),
    "no run": (["report", "empty"], 1, "holds no run"),
    "no such command": (["prun"], 2, "prun"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_with_its_exit_code_and_writes_nothing(run: Runner, tmp_path: Path, case: str) -> None:
    words, code, fragment = BAD[case]
    before = sorted(tmp_path.rglob("*"))
    ended = run(*words)
    *notices, line = ended.err.splitlines()
    assert line.startswith("error: ")
    assert all(notice.startswith(("[0", "warning: ", "        ")) for notice in notices)
    assert fragment in line
    assert ended.code == code
    assert ended.out == ""
    assert [path for path in sorted(tmp_path.rglob("*")) if path not in before and "__pycache__" not in str(path)] == []


def test_errors_show_their_origin_on_request(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILOR_TRACEBACK", "1")
    with pytest.raises(LookupError, match="resnet21"):
        main(["inspect", "tailor/resnet21-cifar"])


def test_a_mistake_of_our_own_is_not_dressed_up_as_the_user_s(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("tailor.requests.traced", explode)
    with pytest.raises(ZeroDivisionError):
        main(["inspect", "tailor/resnet20-cifar"])


def test_help_is_instant_because_torch_is_not_imported() -> None:
    program = (
        "import sys\n"
        "from tailor.cli import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "finally:\n"
        "    heavy = {'torch', 'matplotlib', 'rich', 'numpy'} & set(sys.modules)\n"
        "    print(sorted(heavy), file=sys.stderr)\n"
    )
    for words in (["--help"], ["prune", "--help"], []):
        ended = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
        assert ended.returncode == 0
        assert ended.stdout.startswith("Usage: tailor")
        assert ended.stderr.strip() == "[]"


def test_inspect_lists_every_group_and_its_json_is_the_graph(run: Runner) -> None:
    text = run("inspect", "nets.py:make")
    assert text.code == 0
    ended = run("inspect", "nets.py:make", "--json")
    summary = decode(ended.out.encode(), GraphSummary)
    assert ended.err == ""
    assert len(summary.groups) == 3
    for group in summary.groups:
        assert f"\n{group.name} " in text.out
        assert group.pinned is None or group.pinned in text.out


def test_inspect_honours_pins(run: Runner) -> None:
    ended = run("inspect", "nets.py:make", "--pin", "0", "--json")
    groups = {group.name: group for group in decode(ended.out.encode(), GraphSummary).groups}
    assert groups["0"].pinned is not None
    assert groups["3"].pinned is None


def test_inspect_tells_members_shares_and_on_an_engine_latency(run: Runner) -> None:
    words = ["inspect", "nets.py:make", "--engine", "torch", "--protocol", "quick"]
    summary = decode(run(*words, "--json").out.encode(), GraphSummary)
    groups = {group.name: group for group in summary.groups}
    assert groups["0"].members == ("0", "1", "3")  # convolution, norm, and the convolution that reads it
    whole = 3 * 8 * 9 + 8 + 2 * 8 + 8 * 12 * 9 + 12 + 12 * 10 + 10
    assert groups["0"].parameter_share == pytest.approx((3 * 8 * 9 + 8 + 2 * 8 + 8 * 12 * 9) / whole)
    assert summary.latency is not None
    assert summary.latency.shares is not None
    assert sum(summary.latency.shares.values()) == pytest.approx(1, abs=0.01)
    assert summary.latency.narrowest.low <= summary.latency.narrowest.value <= summary.latency.narrowest.high
    text = run(*words).out
    assert "the fastest of the narrowest networks" in text
    assert "0 -> 1, 3" in text
    assert decode(run("inspect", "nets.py:make", "--json").out.encode(), GraphSummary).latency is None


def test_export_names_its_files_and_fails_as_one_where_a_format_does(run: Runner, tmp_path: Path) -> None:
    text = run("export", "nets.py:make", "--to", "torchscript")
    assert text.code == 0
    file = Path("exports") / "nets.py-make" / "model.ts"
    assert file.is_file()
    assert str(file) in text.out
    words = ["--to", "torch-export,torchscript", "--out", "c", "--batch-size", "2", "--json"]
    ended = run("export", "nets.py:choosy", *words)
    found = decode(ended.out.encode(), ExportReport)
    assert ended.code == 1
    assert [each.failure is None for each in found.formats] == [False, True]
    assert found.batch_size == 2
    assert ended.err == ""


def test_measure_and_compare(run: Runner) -> None:
    ended = run("measure", "nets.py:make", "--protocol", "quick", "--vs", "nets.py:make", "--json")
    timing = decode(ended.out.encode(), Timing)
    assert ended.code == 0
    assert timing.latency.low <= timing.latency.value <= timing.latency.high
    assert timing.ratio is not None
    assert timing.settings.name == "quick"
    text = run("measure", "nets.py:make", "--protocol", "quick")
    assert text.out.startswith("nets.py:make")
    assert "resolution" in text.out


def test_one_network_on_several_engines_is_one_table(run: Runner) -> None:
    words = ["measure", "nets.py:make", "--engine", "torch,onnxruntime-tensorrt", "--instances", "2"]
    words += ["--protocol", "quick"]
    text = run(*words)
    assert text.code == 0
    assert "fastest first" in text.out
    assert "onnxruntime-tensorrt (fp32)" in text.out
    found = decode(run(*words, "--json").out.encode(), EngineComparison)
    assert [row.target.engine for row in found.timings] == ["torch"]
    assert [each.target.engine for each in found.not_run] == ["onnxruntime-tensorrt"]


def test_the_doctor_examines_the_device_and_threads_asked_for(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Target] = []

    def fake(target: Target) -> Doctor:
        asked.append(target)
        return Doctor(
            network="net", target=target, machine=machine_here(), engines=(), conditions=None, warnings=("beware",)
        )

    monkeypatch.setattr("tailor.measuring.doctor.examine", fake)
    assert run("doctor", "--device", "cuda").out.endswith("warning: beware\n")
    assert decode(run("doctor", "--json").out.encode(), Doctor).warnings == ("beware",)
    assert asked == [Target(device="cuda"), Target()]


def result(outcome: Outcome, out: Path) -> PruneResult:
    return PruneResult(
        verdict=sample_run.verdict(outcome),
        model=load_model("tailor/resnet20-cifar"),
        widths=Widths({}),
        keep=KeepPlan(fingerprint="", kept={}),
        stages=Stages(dense=0.9722),
        reductions=Reductions(
            accuracy=None, latency_ns=(2, 1), macs=(2, 1), parameters=(2, 1), channels=(2, 1)
        ),
        out=out,
        report=out / "report.html",
    )


def test_methods_lists_every_recipe_and_its_choices(run: Runner) -> None:
    table = run("methods").out
    assert all(f"{name} " in table for name in METHODS)
    assert json.loads(run("methods", "--json").out)["sp-lamp"]["search.solver"] == "exact"


@pytest.mark.parametrize(("outcome", "code"), [(Outcome.PASS, 0), (Outcome.FAIL, 3), (Outcome.UNDECIDED, 4)])
def test_the_verdict_decides_the_exit_code_and_ends_the_output(
    run: Runner, monkeypatch: pytest.MonkeyPatch, outcome: Outcome, code: int
) -> None:
    asked: list[PruneRequest] = []

    def fake(request: PruneRequest, *, console: Reporter) -> PruneResult:
        asked.append(request)
        console.stage("pruning")
        return result(outcome, request.out)

    monkeypatch.setattr(tailor.pipeline, "prune", fake)
    words = [*PRUNE, "--budget", "60%", "--cycles", "2", "--epochs", "3", "--no-distill", "--seed", "7", "--pin", "a*"]
    ended = run(*words)
    assert ended.code == code
    folder = Path("runs/resnet20-cifar-60pct-torch-b1")
    line = f"budget 60% (5.00 ms) -> measured 4.91 ms (95 % interval 4.88-4.95) {outcome.value}; top-1 97.2 -> 96.9"
    assert ended.out.splitlines() == [line, str(folder / "report.html")]
    assert "random weights" in ended.err
    request = asked[0]
    assert (request.model_spec, request.data_spec, request.out) == ("tailor/resnet20-cifar", "digits", folder)
    assert (request.cycles, request.recipe.epochs, request.distill, request.seed) == (2, 3, False, 7)
    assert tuple(request.pin) == ("a*",)
    assert request.command == "tailor " + " ".join(words).replace("a*", "'a*'")


def test_an_unreachable_budget_is_exit_3(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(request: PruneRequest, *, console: Reporter) -> PruneResult:
        raise BudgetUnreachableError("the fastest network takes 4 ms", value=4)

    monkeypatch.setattr(tailor.pipeline, "prune", fake)
    ended = run(*PRUNE, "--budget", "1%")
    assert (ended.code, ended.err.splitlines()[-1]) == (3, "error: the fastest network takes 4 ms")


def test_ctrl_c_says_how_to_go_on(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(request: PruneRequest, *, console: Reporter) -> PruneResult:
        raise KeyboardInterrupt

    monkeypatch.setattr(tailor.pipeline, "prune", fake)
    ended = run(*PRUNE, "--budget", "60%")
    assert ended.code == 130
    assert "--resume" in ended.err.splitlines()[-1]


def test_report_writes_a_folder_s_report_anew(run: Runner, run_folder: Path) -> None:
    ended = run("report", str(run_folder))
    assert (ended.code, ended.out) == (0, f"{run_folder / 'report.html'}\n")
    assert "PASS" in (run_folder / "report.html").read_text(encoding="utf-8")
    assert json.loads((run_folder / "report.json").read_text())["record"]["outcome"] == "PASS"


def test_a_reader_that_leaves_early_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(FACTORY)
    program = "from tailor.cli import main; main(['inspect', 'nets.py:make', '--json'])"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        error = process.stderr.read().decode()
    assert error == ""


def test_profile_prints_and_plots_its_staircases(
    run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def fake(*given: object, progress: Callable[[str, int, int], None], **options: object) -> Profile:
        asked.extend((*given[3:], options["networks"], options["seed"]))
        progress("layers", 1, 2)
        return sample_run.profile()

    monkeypatch.setattr("tailor.profiling.profile", fake)
    words = ["profile", "nets.py:make", "--networks", "12", "--seed", "3", "--batch-size", "4"]
    ended = run(*words, "--plot", "stairs.svg")
    assert ended.code == 0
    assert "right edges" in ended.out
    assert ended.err.count("\n") == 1
    assert (tmp_path / "stairs.svg").read_text().lstrip().startswith("<?xml")
    assert asked == [Target(batch_size=4), 12, 3]
    assert decode(run(*words, "--json").out.encode(), Profile) == sample_run.profile()
