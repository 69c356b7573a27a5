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
from tailor.engines.host import available_cores
from tailor.engines.subjects import network_subject
from tailor.errors import MeasurementError
from tailor.instances import InstanceComparison, Session, across_states, compare_instances
from tailor.measuring import instances_of, samples_of
from tailor.persist import restore
from tailor.records import Budget, Conditions, Interval, Outcome, TimingSettings, Verdict
from tailor.serialize import decode, encode
from tailor.spec import Target
from tailor.timing import ratio_interval, summary_interval
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
    of each network are timed, since copies differ by where their memory lies. `host_noise` is what the host's state
    adds to the ratios of a session (relative standard deviation, as the profile saw it); the intervals hold it.
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
    host_noise: float = 0.0


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
    sessions: list[Session] = []
    warnings: dict[str, None] = {}
    for number in range(SESSIONS):
        session, conditions = _measure(job, pruned, number)
        sessions.append(session)
        warnings |= dict.fromkeys(conditions.noisy() if conditions is not None else ())
        found = _compared(sessions, job.settings, job.host_noise)
        outcome, reason = decide(job.budget, found.ratio, found.second, found.first)
        if outcome is not Outcome.UNDECIDED:
            break
    if not equivalent:
        outcome, reason = Outcome.FAIL, "the saved network's outputs are not those that the run recorded"
    typical = _compared(sessions, replace(job.settings, statistic="median"), job.host_noise)
    if outcome is Outcome.PASS and job.settings.statistic == "quiet" and _exceeds(job.budget, typical):
        _, told = decide(job.budget, typical.ratio, typical.second, typical.first)
        warnings[f"other work disturbs this host, and typical rounds exceed the budget: their median is {told}"] = None
    if found.resolution > NOISY:
        warnings[f"noisy host: copies of one network differed by {found.resolution:.1%}"] = None
    return Verdict(
        outcome=outcome,
        reason=reason,
        budget=job.budget,
        limit_ns=job.budget.limit_ns(round(found.second.value)),
        dense=found.second,
        pruned=found.first,
        ratio=found.ratio,
        resolution=found.resolution,
        instances=job.instances * len(sessions),
        equivalent=equivalent,
        accuracy=_accuracy(pruned, job.data),
        dense_accuracy=_accuracy(job.dense, job.data),
        target=job.target,
        environment=open_device(job.target).environment(),
        warnings=tuple(warnings),
        statistic=job.settings.statistic,
        host_noise=job.host_noise,
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


def _exceeds(budget: Budget, found: InstanceComparison) -> bool:
    """Whether the value alone, whatever its interval, is over the budget."""
    if budget.share is not None:
        return found.ratio.value > budget.share
    return found.first.value > budget.limit_ns(round(found.second.value))


def _measure(job: VerifyJob, pruned: nn.Module, number: int) -> tuple[Session, Conditions | None]:
    """One session with fresh instances of the pruned and the dense network in shuffled rounds."""
    modules = {"the pruned network": pruned, "the dense network": job.dense}
    subjects = {
        name: network_subject(name, net, job.example_inputs, job.target.batch_size) for name, net in modules.items()
    }
    paired = job.budget.share is not None  # a share is held against the ratio, a time against the latency itself
    settings = replace(job.settings, seed=job.settings.seed + number, paired=paired)
    timed = instances_of(open_device(job.target), subjects, settings, job.instances)
    own, dense = samples_of(timed, settings.statistic)
    return (own, dense), timed["the dense network"][0].conditions


def _compared(sessions: Sequence[Session], settings: TimingSettings, host_noise: float) -> InstanceComparison:
    """What the instances say, and the host's state adds to it."""
    found = _by_instances(sessions, settings)
    ratio, first = (across_states(interval, host_noise, len(sessions)) for interval in (found.ratio, found.first))
    return replace(found, ratio=ratio, first=first)


def _by_instances(sessions: Sequence[Session], settings: TimingSettings) -> InstanceComparison:
    """A protocol that times one network many times has only its rounds to go by."""
    if all(len(group) > 1 for session in sessions for group in session):
        return compare_instances(sessions, statistic=settings.statistic)
    own, dense = ([ns for session in sessions for ns in session[side][0]] for side in (0, 1))
    return InstanceComparison(
        ratio=ratio_interval(own, dense, statistic=settings.statistic),
        first=summary_interval(own, settings),
        second=summary_interval(dense, settings),
        spread=0.0,
        resolution=0.0,
    )


def _same(got: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    if [t.shape for t in got] != [t.shape for t in expected]:
        return False
    pairs = [(a, b) for a, b in zip(got, expected, strict=True) if b.numel()]  # a detector may find nothing
    return all(bool(((a - b).abs() <= SAME_OUTPUT * b.abs().max().clamp_min(1e-12)).all()) for a, b in pairs)


def _accuracy(model: nn.Module, data: Data | None) -> float | None:
    return None if data is None else accuracy(model, data.batches("test"))


def _main() -> None:
    torch.set_num_threads(available_cores())
    job: VerifyJob = cloudpickle.loads(sys.stdin.buffer.read())
    print(encode(judge(job)).decode(), flush=True)


if __name__ == "__main__":
    from tailor.verify import _main as main  # under the module's own name, so that the job's classes are these

    main()
