"""`measure`: how long a network takes, how sure that is, and whether it is faster than another one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from tailor.engines import open_device
from tailor.engines.subjects import network_subject
from tailor.errors import MeasurementError
from tailor.records import Environment, Interval, Measurement, TimingSettings
from tailor.spec import Target
from tailor.timing import aa_resolution, claimable_step, ratio_interval, settings_named, summary_interval

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Comparison", "Timing", "compare", "measure"]

WIDEST_SAME = 0.05  # a wider distance than this is a noisy host, not sameness


class Comparison(str, Enum):
    """How a network stands against another; UNDECIDED when the interval reaches across the claimable step."""

    FASTER = "FASTER"
    SAME = "SAME"
    SLOWER = "SLOWER"
    UNDECIDED = "UNDECIDED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """A network's latency (ns) on a target with its 95 % interval, and all that it rests on.

    `resolution` is what two copies of the network differed by in this session: nothing below max(3 x resolution, 1 %)
    is claimed. With another network to compare with, `ratio` is this one's latency over the other's, paired round
    by round, and `comparison` what may be said about it.
    """

    target: Target
    environment: Environment
    settings: TimingSettings
    latency: Interval
    samples_ns: tuple[int, ...]
    stopped: str
    resolution: float
    versus_latency: Interval | None = None
    ratio: Interval | None = None
    comparison: Comparison | None = None

    @property
    def ns(self) -> int:
        """The latency in whole nanoseconds."""
        return round(self.latency.value)

    @property
    def rounds(self) -> int:
        """How many rounds were timed."""
        return len(self.samples_ns)


def measure(
    model: nn.Module,
    example_inputs: Any,
    target: Target,
    *,
    settings: TimingSettings | None = None,
    versus: nn.Module | None = None,
) -> Timing:
    """Time a network on a target, beside a copy of itself and, when given, beside another network.

    The example inputs (a tensor, a tuple, or a dict of keywords) are repeated to the target's batch size. The model
    is copied; it, the random state, gradients and threads are left as they were.

    Raises:
        MeasurementError: the network (or the other one) could not be run; names what it said.
        InvalidOptionError: an option of the target that its engine refuses.
        UnknownNameError: no such engine.
    """
    device = open_device(target)
    settings = settings or settings_named("default")
    modules = {"model": model, "copy": model} | ({} if versus is None else {"versus": versus})
    subjects = [network_subject(key, module, example_inputs, target.batch_size) for key, module in modules.items()]
    timed = dict(zip(modules, device.measure(subjects, settings), strict=True))
    for name, measurement in timed.items():
        _must_have_run(name, measurement)
    own = timed["model"]
    resolution = aa_resolution(own.samples_ns, timed["copy"].samples_ns)
    other = timed.get("versus")
    ratio = None if other is None else ratio_interval(own.samples_ns, other.samples_ns)
    return Timing(
        target=target,
        environment=device.environment(),
        settings=settings,
        latency=summary_interval(own.samples_ns, settings),
        samples_ns=own.samples_ns,
        stopped=own.stopped,
        resolution=resolution,
        versus_latency=None if other is None else summary_interval(other.samples_ns, settings),
        ratio=ratio,
        comparison=None if ratio is None else compare(ratio, resolution),
    )


def compare(ratio: Interval, resolution: float) -> Comparison:
    """What a paired ratio (this over the other) allows to say at this resolution.

    A difference is claimed when the ratio is at least max(3 x resolution, 1 %) away from 1 and its interval leaves 1
    out; sameness when the whole interval lies within that distance and this distance is at most 5 %: on a host noisier
    than that nothing can be called the same.
    """
    step = claimable_step(resolution)
    if ratio.value <= 1 - step and ratio.high < 1:
        return Comparison.FASTER
    if ratio.value >= 1 + step and ratio.low > 1:
        return Comparison.SLOWER
    if ratio.low >= 1 - step and ratio.high <= 1 + step and step <= WIDEST_SAME:
        return Comparison.SAME
    return Comparison.UNDECIDED


def _must_have_run(name: str, measurement: Measurement) -> None:
    if measurement.failure is not None:
        called = {"model": "the network", "copy": "a copy of the network", "versus": "the other network"}[name]
        raise MeasurementError(f"{called} could not be timed: {measurement.failure}", value=measurement.failure)
