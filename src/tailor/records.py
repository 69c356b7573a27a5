"""What was observed: environments, timings, estimates, trials and verdicts, as frozen values.

Latencies are integer nanoseconds wherever they are stored, added or compared.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from tailor.errors import InvalidBudgetError
from tailor.spec import Target

__all__ = [
    "BranchSummary",
    "Budget",
    "Conditions",
    "Environment",
    "Epoch",
    "Estimate",
    "GraphSummary",
    "GroupLatencies",
    "GroupSummary",
    "Interval",
    "Measurement",
    "NodeTime",
    "Outcome",
    "Reductions",
    "RunConfig",
    "SearchSummary",
    "Stages",
    "TimingSettings",
    "TrainingResult",
    "Trial",
    "Verdict",
    "WidthsRecord",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Hardware, drivers, clocks and library versions; unequal environments never mix."""

    facts: Mapping[str, str]

    @property
    def key(self) -> str:
        """A short digest that differs whenever a fact differs."""
        return hashlib.sha256(json.dumps(dict(self.facts), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingSettings:
    """When a timing session warms up, samples and stops.

    Sampling stops once every subject's 95 % interval of the median is within `half_width` of the median and at least
    `min_rounds` rounds are done, or at `max_rounds`, or after `max_seconds`. A sample times as many back-to-back
    calls as fill `sample_seconds` (at least one). Before it, untimed calls for `prime_seconds` (at most 12, none of a
    call that takes longer) bring the caches back, which the other subjects have emptied. `fixed_warmup` calls replace
    the warm-up test when given. `statistic` is "median" or "mean" (the mean is what LACP's protocol reports).
    """

    name: str = "default"
    min_rounds: int = 12
    max_rounds: int = 200
    half_width: float = 0.01
    max_seconds: float = 60.0
    sample_seconds: float = 0.002
    warmup_seconds: float = 1.0
    fixed_warmup: int | None = None
    statistic: str = "median"
    seed: int = 0
    prime_seconds: float = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value with its 95 % interval (ratios, or nanoseconds as floats)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What the machine did beside the timing, during one session; None where it does not tell.

    `steady` is False when warm-up never settled; `drift` is the second half's latency over the first half's, less 1;
    `retaken` of `samples` were taken again because another process had the core. `steal` is the share (0 to 1) of our
    cores' time that the hypervisor gave to other machines, `pressure` the share of the session in which some task here
    waited for a core, `throttled` how often the container's processor quota stopped us; `mhz` are the cores' mean clock
    before and after.
    """

    seconds: float
    steady: bool
    drift: float
    samples: int
    retaken: int
    steal: float | None = None
    pressure: float | None = None
    throttled: int | None = None
    mhz: tuple[float, float] | None = None

    def noisy(self) -> tuple[str, ...]:
        """What would make a careful reader doubt the session, one sentence each; empty on a quiet machine."""
        found = []
        if not self.steady:
            found.append("the latency was still drifting when warm-up ended: the machine had not settled")
        if abs(self.drift) > 0.05:
            way = "slower" if self.drift > 0 else "faster"
            found.append(f"the machine became {abs(self.drift):.0%} {way} meanwhile")
        if self.retaken > 0.1 * self.samples:
            found.append(
                f"another process had the core during {self.retaken} samples, which were taken again for the "
                f"{self.samples} that count"
            )
        elif (self.pressure or 0.0) > 0.25:
            found.append(f"tasks on this machine waited for a core during {self.pressure:.0%} of the session")
        if (self.steal or 0.0) > 0.02:
            found.append(f"the hypervisor gave {self.steal:.0%} of the cores' time to other machines (steal)")
        if self.throttled:
            found.append(f"the container's processor quota stopped this process {self.throttled} times")
        if self.mhz is not None and abs(self.mhz[1] / self.mhz[0] - 1) > 0.05:
            found.append(f"the clock went from {self.mhz[0]:.0f} to {self.mhz[1]:.0f} MHz")
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Raw samples of one subject in one session, in ns per call; statistics are derived, failures are values.

    `stopped` says why sampling ended: "precise", "rounds", "time", "protocol" or "failed". Samples of one session
    are aligned: entry i of every subject comes from the same shuffled round. `conditions` are the session's, None in
    records that an earlier version wrote.
    """

    subject: str
    environment: str
    session: str
    samples_ns: tuple[int, ...]
    stopped: str
    failure: str | None = None
    conditions: Conditions | None = None

    @property
    def median_ns(self) -> int:
        """Median of the samples."""
        return round(statistics.median(self.samples_ns))


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTime:
    """What one node of a running network took, by the engine's own account: mean ns per call.

    `layer` is the path of the module whose work it is, None for work that belongs to no single module (layout changes,
    additions); a node that fuses several modules names the convolution or linear layer. `kernel` is the engine's own
    name of the implementation, "" where it does not say.
    """

    name: str
    layer: str | None
    kind: str
    kernel: str
    ns: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A latency with its interval; adding keeps the worst source."""

    ns: int
    low_ns: int
    high_ns: int
    source: str = "measured"  # "measured" < "fitted" < "extrapolated"

    def __add__(self, other: Estimate) -> Estimate:
        order = ("measured", "fitted", "extrapolated")
        return Estimate(
            ns=self.ns + other.ns,
            low_ns=self.low_ns + other.low_ns,
            high_ns=self.high_ns + other.high_ns,
            source=max(self.source, other.source, key=order.index),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One structure that search tried.

    `score` is what the evaluator said (higher is better), None when the structure was over the latency limit and
    so was not evaluated. `origin` is "random", "mutation", "crossover" ...; `cycle` counts populations from 0.
    """

    number: int
    cycle: int
    origin: str
    widths: Mapping[str, int]
    latency: Estimate
    score: float | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GradualRecord:
    """What pruning while training ended with: the units kept per group, and every unit's last saliency."""

    kept: Mapping[str, tuple[int, ...]]
    scores: Mapping[str, tuple[float, ...]]
    iterations: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The latency to reach: a share of the dense network's, or a time. Parsed from "60%" or "5ms"."""

    text: str
    share: float | None = None
    ns: int | None = None

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read "60%", "0.5s", "5ms", "800us" or "90000ns".

        Raises:
            InvalidBudgetError: for anything else, for zero, negative times, and shares of 100 % or more.
        """
        cleaned = text.strip().lower().replace(" ", "")
        units = {"ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9}
        unit = next((u for u in ("%", *units) if cleaned.endswith(u)), None)
        way_out = 'give a share of the dense latency such as "60%" or a time such as "5ms"'
        try:
            number = float(cleaned.removesuffix(unit or ""))
        except ValueError:
            raise InvalidBudgetError(f"budget {text!r} is not a latency: {way_out}", value=text) from None
        if unit is None:
            raise InvalidBudgetError(f"budget {text!r} has no unit: {way_out}", value=text)
        if not 0 < number < float("inf"):
            raise InvalidBudgetError(f"budget {text!r} must be above zero: {way_out}", value=text)
        if unit == "%":
            if number >= 100:
                raise InvalidBudgetError(f"budget {text!r} is no reduction: give a share below 100%", value=text)
            return cls(text=cleaned, share=number / 100)
        return cls(text=cleaned, ns=round(number * units[unit]))

    def limit_ns(self, dense_ns: int) -> int:
        """The latency allowed when the dense network takes `dense_ns`."""
        if self.ns is not None:
            return self.ns
        return int((self.share or 0.0) * dense_ns)


class Outcome(str, Enum):
    """What verification found."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNDECIDED = "UNDECIDED"

    @property
    def exit_code(self) -> int:
        """The process exit code of this outcome: 0, 3 or 4."""
        return {"PASS": 0, "FAIL": 3, "UNDECIDED": 4}[self.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """Top-1 accuracy (0 to 1) on the test split at each stage; None where a stage was skipped."""

    dense: float
    cut: float | None = None
    recalibrated: float | None = None
    fine_tuned: float | None = None

    @property
    def final(self) -> float:
        """Accuracy of what is handed over."""
        stages = (self.fine_tuned, self.recalibrated, self.cut, self.dense)
        return next(value for value in stages if value is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reductions:
    """Dense and pruned values of LACP's five metrics (accuracy in 0 to 1, latency in ns)."""

    accuracy: tuple[float, float] | None
    latency_ns: tuple[int, int]
    macs: tuple[int, int]
    parameters: tuple[int, int]
    channels: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a fresh process found: PASS, FAIL or UNDECIDED, with the numbers and the reason.

    `ratio` is pruned over dense latency, its interval includes how fresh copies differ; `limit_ns` is the budget in
    that process; `instances` counts the fresh copies of each network that were timed. `equivalent` says that the saved
    network gave the outputs that the run recorded; `accuracy` is top-1 of the saved network (0 to 1), None without
    data.
    """

    outcome: Outcome
    reason: str
    budget: Budget
    limit_ns: int
    dense: Interval
    pruned: Interval
    ratio: Interval
    resolution: float
    instances: int
    equivalent: bool
    accuracy: float | None
    dense_accuracy: float | None
    target: Target
    environment: Environment
    warnings: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Every resolved option of a run: what a resumed run must agree with, and what the report prints.

    `model` is the model's name or its class when it was given as an object; `command` is what was typed, or "" when
    the run was started from Python. `method` holds the recipe's own options as text.
    """

    model: str
    weights: str | None
    data: str | None
    target: Target
    budget: Budget
    method: str
    method_options: Mapping[str, str]
    recipe: str
    recipe_options: Mapping[str, str]
    protocol: str
    seed: int
    input_shape: tuple[int, ...]
    command: str
    tailor_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSummary:
    """One channel group as the report shows it; `members` are all modules that it runs through.

    `share` is its layers' part of the dense MACs (0 to 1), `parameter_share` the part of the parameters that would
    leave with all of its channels.
    """

    name: str
    width: int
    channels_per_unit: int
    quantum: int
    min_width: int
    pinned: str | None
    residual: bool
    producers: tuple[str, ...]
    share: float
    members: tuple[str, ...] = ()
    parameter_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLatencies:
    """What a network takes on a target and where: the dense latency (ns), the narrowest network's over it, by group.

    `shares` are each group's layers' part of the engine's own account (0 to 1), None where the engine does not tell.
    """

    target: Target
    dense: Interval
    narrowest: Interval
    shares: Mapping[str, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchSummary:
    """One residual branch as `tailor inspect --depth` shows it; `share` is its layers' part of the dense MACs."""

    name: str
    groups: tuple[str, ...]
    pinned: str | None
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSummary:
    """The traced network as stored in a run folder.

    `form` is "module", or "exported graph" where that is cut; `latency` and `branches` are there when asked for.
    """

    fingerprint: str
    groups: tuple[GroupSummary, ...]
    layers: int
    macs: int
    parameters: int
    channels: int
    form: str = "module"
    latency: GroupLatencies | None = None
    branches: tuple[BranchSummary, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSummary:
    """What the search did: structures evaluated, seconds, the winner's trial number, and its measured latency."""

    structures: int
    seconds: float
    best: int
    limit_ns: int
    best_measured_ns: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WidthsRecord:
    """Units per group before and after."""

    dense: Mapping[str, int]
    pruned: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One epoch: mean training loss, held-out accuracy (0 to 1), the learning rate at its end, seconds."""

    epoch: int
    loss: float
    heldout_accuracy: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What a training did; `resumed_from` counts the epochs that a checkpoint brought along."""

    precision: str
    distilled: bool
    history: tuple[Epoch, ...]
    resumed_from: int = 0
