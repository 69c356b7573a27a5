"""The verdict: a fresh process loads what was saved and holds it against the budget, its outputs and its accuracy."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cloudpickle
import torch
from torch import Tensor, nn

from tailor.calling import as_inputs, call_model, output_tensors, quiet
from tailor.engines import open_device
from tailor.engines.subjects import network_subject
from tailor.errors import MeasurementError
from tailor.persist import restore
from tailor.records import Budget, Interval, Measurement, Outcome, TimingSettings, Verdict
from tailor.serialize import decode, encode
from tailor.spec import Target
from tailor.timing import aa_resolution, ratio_interval, summary_interval
from tailor.training.data import Data
from tailor.training.evaluate import accuracy

__all__ = ["VerifyJob", "decide", "outputs_on", "verify"]

NOISY = 0.02  # A/A resolution above which the host is called noisy
SAME_OUTPUT = 1e-4  # of the largest output: what another thread count may change, and nothing else
SESSIONS = 3  # how often more rounds are tried before a verdict is left undecided


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VerifyJob:
    """Everything the fresh process needs: the dense network as an object, the pruned one as a folder to load.

    `expected` are the pruned network's outputs on the example inputs, as the run saw them; `instances` fresh copies
    of each network are timed, since copies differ by where their memory lies.
    """

    dense: nn.Module
    folder: Path
    example_inputs: Any
    expected: Sequence[Tensor]
    target: Target
    budget: Budget
    settings: TimingSettings
    instances: int
    data: Data | None


def outputs_on(model: nn.Module, example_inputs: Any) -> list[Tensor]:
    """The tensors that the network returns for the example inputs, in eval mode."""
    with quiet(model):
        return output_tensors(call_model(model, as_inputs(example_inputs)))


def verify(job: VerifyJob) -> Verdict:
    """Run the job in a fresh Python process and read its verdict.

    Raises:
        MeasurementError: the process failed; the message ends with its last words.
    """
    for module in {type(part).__module__ for part in job.dense.modules()}:
        if module in sys.modules and not _importable(module):
            cloudpickle.register_pickle_by_value(sys.modules[module])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    finished = subprocess.run(
        [sys.executable, "-m", "tailor.verify"],
        input=cloudpickle.dumps(job),
        capture_output=True,
        env=environment,
        check=False,
    )
    if finished.returncode:
        words = finished.stderr.decode(errors="replace").strip().splitlines()
        last = words[-1] if words else f"exit code {finished.returncode}"
        raise MeasurementError(f"the verifying process failed: {last}", value=finished.returncode)
    return decode(finished.stdout.splitlines()[-1], Verdict)


def _importable(module: str) -> bool:
    """Whether a fresh process can import it by name; a factory file or a notebook cell cannot be."""
    if module == "__main__":
        return False
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def judge(job: VerifyJob) -> Verdict:
    """The work of the fresh process: load, compare outputs, measure, evaluate, decide."""
    pruned = restore(job.dense, job.folder)
    equivalent = _same(outputs_on(pruned, job.example_inputs), job.expected)
    timed = _Timed(dense=[], pruned=[], resolution=0.0)
    for session in range(SESSIONS):
        timed = timed.joined(_measure(job, pruned, session))
        ratio = ratio_interval(timed.pruned, timed.dense)
        dense, small = (summary_interval(samples, job.settings) for samples in (timed.dense, timed.pruned))
        outcome, reason = decide(job.budget, ratio, dense, small)
        if outcome is not Outcome.UNDECIDED:
            break
    if not equivalent:
        outcome, reason = Outcome.FAIL, "the saved network's outputs are not those that the run recorded"
    warnings = (
        (f"noisy host: copies of one network differed by {timed.resolution:.1%}",) if timed.resolution > NOISY else ()
    )
    return Verdict(
        outcome=outcome,
        reason=reason,
        budget=job.budget,
        limit_ns=job.budget.limit_ns(round(dense.value)),
        dense=dense,
        pruned=small,
        ratio=ratio,
        resolution=timed.resolution,
        instances=job.instances,
        equivalent=equivalent,
        accuracy=_accuracy(pruned, job.data),
        dense_accuracy=_accuracy(job.dense, job.data),
        target=job.target,
        environment=open_device(job.target).environment(),
        warnings=warnings,
    )


def decide(budget: Budget, ratio: Interval, dense: Interval, pruned: Interval) -> tuple[Outcome, str]:
    """PASS when the whole interval keeps the budget, FAIL when none of it does, UNDECIDED otherwise."""
    if budget.share is not None:
        limit, own, unit = budget.share, ratio, "of the dense latency"
        texts = [f"{100 * value:.1f} %" for value in (own.value, own.low, own.high, limit)]
    else:
        limit, own, unit = float(budget.limit_ns(round(dense.value))), pruned, "measured"
        texts = [f"{value / 1e6:.3f} ms" for value in (own.value, own.low, own.high, limit)]
    found = f"{texts[0]} {unit} (95 % interval {texts[1]} to {texts[2]}), asked {texts[3]}"
    if own.low > limit:
        return Outcome.FAIL, found
    if own.high > limit:
        return Outcome.UNDECIDED, f"{found}; the interval reaches across the budget on this host"
    if ratio.high >= 1:
        return Outcome.FAIL, f"{found}; but not faster than the dense network"
    return Outcome.PASS, found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timed:
    """Mean over instances of each network per round, in ns, and how far copies of the dense network lie apart."""

    dense: list[int]
    pruned: list[int]
    resolution: float

    def joined(self, other: _Timed) -> _Timed:
        return _Timed(
            dense=self.dense + other.dense,
            pruned=self.pruned + other.pruned,
            resolution=max(self.resolution, other.resolution),
        )


def _measure(job: VerifyJob, pruned: nn.Module, session: int) -> _Timed:
    """One session with fresh instances of both networks in shuffled rounds."""
    modules = {f"dense {n}": job.dense for n in range(job.instances)}
    modules |= {f"pruned {n}": pruned for n in range(job.instances)}
    subjects = [network_subject(key, net, job.example_inputs, job.target.batch_size) for key, net in modules.items()]
    settings = replace(job.settings, seed=job.settings.seed + session)
    measured = {m.subject: m for m in open_device(job.target).measure(subjects, settings)}
    for measurement in measured.values():
        if measurement.failure is not None:
            raise MeasurementError(f"{measurement.subject} could not be timed: {measurement.failure}")
    dense = [measured[f"dense {n}"] for n in range(job.instances)]
    copies = [aa_resolution(dense[0].samples_ns, copy.samples_ns) for copy in dense[1:]]
    return _Timed(
        dense=_mean_per_round(dense),
        pruned=_mean_per_round([measured[f"pruned {n}"] for n in range(job.instances)]),
        resolution=max(copies, default=0.0),
    )


def _mean_per_round(instances: Sequence[Measurement]) -> list[int]:
    return [round(sum(row) / len(row)) for row in zip(*(m.samples_ns for m in instances), strict=True)]


def _same(got: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    if [t.shape for t in got] != [t.shape for t in expected]:
        return False
    pairs = zip(got, expected, strict=True)
    return all(bool(((a - b).abs() <= SAME_OUTPUT * b.abs().max().clamp_min(1e-12)).all()) for a, b in pairs)


def _accuracy(model: nn.Module, data: Data | None) -> float | None:
    return None if data is None else accuracy(model, data.batches("test"))


def _main() -> None:
    torch.set_num_threads(os.cpu_count() or 1)
    job: VerifyJob = cloudpickle.loads(sys.stdin.buffer.read())
    print(encode(judge(job)).decode(), flush=True)


if __name__ == "__main__":
    from tailor.verify import _main as main  # under the module's own name, so that the job's classes are these

    main()
