"""`measure`: how long a network takes, how sure that is, and whether it is faster than another one."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from tailor.engines import open_device
from tailor.engines.subjects import network_subject
from tailor.errors import InvalidOptionError, MeasurementError
from tailor.instances import compare_instances, instances_latency
from tailor.protocols import Device, Subject
from tailor.records import Conditions, Environment, Interval, Measurement, TimingSettings
from tailor.spec import Target
from tailor.timing import claimable_step, counted, settings_named

if TYPE_CHECKING:
    from torch import nn

__all__ = ["INSTANCES", "Comparison", "Timing", "compare", "instance_count", "instances_of", "measure", "samples_of"]

INSTANCES = 3  # fresh copies of each network in one session: two tell that copies differ, three how much

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

    `samples_ns` are the raw samples, one row per fresh instance of the network; `resolution` is what two instances
    typically differ by: no difference below max(3 x resolution / sqrt(instances), 1 %) is claimed. With another network
    to compare with, `ratio` is this one's latency over the other's; its interval includes how instances differ (see
    tailor.instances), and `comparison` is what may be said about it.
    """

    target: Target
    environment: Environment
    settings: TimingSettings
    latency: Interval
    samples_ns: tuple[tuple[int, ...], ...]
    stopped: str
    resolution: float
    conditions: Conditions | None = None
    versus_latency: Interval | None = None
    versus_samples_ns: tuple[tuple[int, ...], ...] = ()
    ratio: Interval | None = None
    comparison: Comparison | None = None

    @property
    def ns(self) -> int:
        """The latency in whole nanoseconds."""
        return round(self.latency.value)

    @property
    def typical_ns(self) -> float:
        """What an instance takes by the median of its rounds, disturbed ones too: the mean over instances, in ns."""
        return statistics.fmean(statistics.median(samples) for samples in self.samples_ns)

    @property
    def rounds(self) -> int:
        """How many rounds were timed."""
        return len(self.samples_ns[0])

    @property
    def instances(self) -> int:
        """How many fresh copies of the network were timed."""
        return len(self.samples_ns)


def measure(
    model: nn.Module,
    example_inputs: Any,
    target: Target,
    *,
    settings: TimingSettings | None = None,
    versus: nn.Module | None = None,
    instances: int | None = None,
) -> Timing:
    """Time fresh instances of a network on a target, interleaved with as many of another network when one is given.

    The example inputs (a tensor, a tuple, or a dict of keywords) are repeated to the target's batch size. The model
    is copied; it, the random state, gradients and threads are left as they were. `instances` is 3 where it is not
    given, 2 for protocols of a fixed number of rounds.

    Raises:
        MeasurementError: the network (or the other one) could not be run; names what it said.
        InvalidOptionError: an option of the target that its engine refuses, or fewer than two instances.
        UnknownNameError: no such engine.
    """
    device = open_device(target)
    settings = settings or settings_named("default")
    count = instance_count(instances, settings)
    modules = {"the network": model} | ({} if versus is None else {"the other network": versus})
    subjects = {
        name: network_subject(name, module, example_inputs, target.batch_size) for name, module in modules.items()
    }
    settings = replace(settings, paired=versus is not None)
    timed = instances_of(device, subjects, settings, count)
    own, *others = ([found.samples_ns for found in group] for group in timed.values())
    latency, resolution = instances_latency(own, statistic=settings.statistic)
    first = timed["the network"][0]
    timing = Timing(
        target=target,
        environment=device.environment(),
        settings=settings,
        latency=latency,
        samples_ns=tuple(own),
        stopped=first.stopped,
        resolution=resolution,
        conditions=first.conditions,
    )
    return timing if not others else _against(timing, others[0])


def _against(timing: Timing, other: Sequence[tuple[int, ...]]) -> Timing:
    """The timing with what the other network's instances say beside it."""
    found = compare_instances([(timing.samples_ns, other)], statistic=timing.settings.statistic)
    return replace(
        timing,
        latency=found.first,
        resolution=found.resolution,
        versus_latency=found.second,
        versus_samples_ns=tuple(other),
        ratio=found.ratio,
        comparison=compare(found.ratio, found.resolution, timing.instances),
    )


def instance_count(asked: int | None, settings: TimingSettings) -> int:
    """How many fresh instances of each network: as asked, else 3, or 2 under a protocol of a fixed number of rounds.

    Raises:
        InvalidOptionError: fewer than two were asked for.
    """
    if asked is None:
        return INSTANCES if settings.fixed_warmup is None else 2
    if asked < 2:
        message = f"{asked} instance cannot show how instances of one network differ; give 2 or more"
        raise InvalidOptionError(message, value=asked)
    return asked


def instances_of(
    device: Device, subjects: Mapping[str, Subject], settings: TimingSettings, count: int
) -> dict[str, list[Measurement]]:
    """Time so many fresh instances of every subject in one session of shuffled rounds, by the subject's name.

    Raises:
        MeasurementError: one of them could not be timed; names it and what it said.
    """
    keys = {f"{name} #{number + 1}": name for number in range(count) for name in subjects}
    ready = [Subject(key=key, module=subjects[name].module, inputs=subjects[name].inputs) for key, name in keys.items()]
    timed: dict[str, list[Measurement]] = {name: [] for name in subjects}
    for measurement, name in zip(device.measure(ready, settings), keys.values(), strict=True):
        if measurement.failure is not None:
            raise MeasurementError(f"{name} could not be timed: {measurement.failure}", value=measurement.failure)
        timed[name].append(measurement)
    return timed


def samples_of(timed: Mapping[str, Sequence[Measurement]], statistic: str) -> list[list[tuple[int, ...]]]:
    """Samples in ns of every instance of every subject of one session, in order, as the statistic counts them."""
    session = {measurement.subject: measurement for group in timed.values() for measurement in group}
    samples = counted(session, statistic)
    return [[samples[measurement.subject] for measurement in group] for group in timed.values()]


def compare(ratio: Interval, resolution: float, instances: int = 1) -> Comparison:
    """What a ratio (this over the other, of so many instances each) allows to say where copies differ by `resolution`.

    A difference is claimed when the interval leaves 1 out and the ratio is at least the claimable step away from 1:
    max(3 x resolution of means over that many instances, 1 %). Sameness when the whole interval lies within
    max(3 x resolution of single copies, 1 %) and this is at most 5 %: on a host noisier than that nothing can be called
    the same.
    """
    step, band = claimable_step(resolution / math.sqrt(instances)), claimable_step(resolution)
    if ratio.value <= 1 - step and ratio.high < 1:
        return Comparison.FASTER
    if ratio.value >= 1 + step and ratio.low > 1:
        return Comparison.SLOWER
    if ratio.low >= 1 - band and ratio.high <= 1 + band and band <= WIDEST_SAME:
        return Comparison.SAME
    return Comparison.UNDECIDED
