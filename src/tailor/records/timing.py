"""How something was timed, on what, and what came out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Conditions", "Environment", "Interval", "Measurement", "NodeTime", "TimingSettings"]


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
    `min_rounds` rounds are done, or at `max_rounds`, or after `max_seconds`. A sample is one call: the quickest of
    single calls and of averages could not be compared. Where calls only launch work (on a GPU) it times as many back to
    back as fill `sample_seconds`. Before it, untimed calls for `prime_seconds` (at most 12, none of a call that takes
    longer) bring the caches back, which the other subjects have emptied. `fixed_warmup` calls replace
    the warm-up test when given. `statistic` is "quiet" (the mean of the quickest quarter of the samples, which
    neighbours on the host disturb least), "usual" (that of the quickest three quarters, for hosts where they hardly
    ever pause; without what the host did at their moments, see `tailor.timing.counted`), "median" or "mean" (what
    LACP's protocol reports). With `paired`, the stopping rule first divides each sample by its round's geometric mean
    over the subjects: ratios need no more, and what slows whole rounds does not make the session longer. Whoever times
    sets it by what is to be told.
    """

    name: str = "default"
    min_rounds: int = 12
    max_rounds: int = 200
    half_width: float = 0.01
    max_seconds: float = 60.0
    sample_seconds: float = 0.002
    warmup_seconds: float = 1.0
    fixed_warmup: int | None = None
    statistic: str = "quiet"
    seed: int = 0
    prime_seconds: float = 0.02
    paired: bool = False


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
    are aligned: entry i of every subject comes from the same shuffled round, `places` are the positions in its order.
    `conditions` are the session's; they are None, and there are no places, in records that an earlier version wrote.
    """

    subject: str
    environment: str
    session: str
    samples_ns: tuple[int, ...]
    stopped: str
    failure: str | None = None
    conditions: Conditions | None = None
    places: tuple[int, ...] = ()


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
