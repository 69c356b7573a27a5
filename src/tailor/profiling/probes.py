"""Times many whole networks in a given time: block by block beside the dense one, the noisiest once more."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tailor.database import Database
from tailor.errors import MeasurementError
from tailor.latency.accounts import NetworkAccount
from tailor.profiling.layers import Progress
from tailor.profiling.networks import NetworkTime, NetworkTimer
from tailor.records import Environment, Measurement, TimingSettings
from tailor.spec import Widths
from tailor.timing import settings_named

__all__ = ["NetworkProbes", "Probed"]

_BLOCK = 8  # networks beside one dense sentinel; more would spread a round over too long a time
_ROUNDS = (4, 12)  # fewest and most rounds per network
_FEWEST = 24  # networks below which time is overrun rather than the model starved
_NOISY = 0.02  # relative standard error from which a network is timed once more, if it is also far above the others
_REPEATED_SHARE = 0.2  # at most so many of the networks are timed again


@dataclass(slots=True, kw_only=True)
class Probed:
    """What is known of whole networks: ratios to the dense one, accounts, and how far dense instances lay apart."""

    times: dict[Widths, NetworkTime] = field(default_factory=dict)
    accounts: dict[Widths, NetworkAccount] = field(default_factory=dict)
    instances: list[float] = field(default_factory=list)
    found: int = 0  # taken from the database

    @property
    def instance_noise(self) -> float:
        """Relative standard deviation of one instance of a network against another, 0 when it was not seen."""
        if len(self.instances) < 2:
            return 0.0
        return math.sqrt(statistics.fmean(value**2 for value in self.instances) / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkProbes:
    """Fits as many networks as it can into the seconds it is given, and stores what it measured."""

    timer: NetworkTimer
    environment: Environment
    database: Database
    seed: int
    progress: Progress

    def time(self, networks: Sequence[Widths], *, seconds: float, dense_seconds: float) -> Probed:
        """Learn the networks in order until the time is used up (but at least 24), the first for certain.

        What the database knows costs no time. Rounds are planned from the dense latency first, then from what the
        blocks really took.

        Raises:
            MeasurementError: the first (the narrowest), or more than a tenth of the networks, cannot be run.
        """
        probed = self._recalled(networks)
        unknown = [widths for widths in networks if widths not in probed.times]
        unknown = unknown[: max(_FEWEST - probed.found, int(seconds / (0.7 * dense_seconds * (_ROUNDS[0] + 1))))]
        started = time.perf_counter()
        per_round = 0.7 * dense_seconds + settings_named("quick").prime_seconds
        tried = 0
        while tried < len(unknown):
            left = seconds - (time.perf_counter() - started)
            if tried + probed.found >= _FEWEST and left <= 0:
                break
            block = unknown[tried : tried + _BLOCK]
            rounds = _rounds(left, per_round * (len(unknown) - tried))
            before = time.perf_counter()
            self._measure(block, rounds, self.seed + tried, probed)
            per_round = (time.perf_counter() - before) / (rounds + 1) / len(block)
            tried += len(block)
            self.progress("networks", tried, len(unknown))
        failed = [widths for widths in unknown[:tried] if widths not in probed.times]
        if networks[0] in failed or len(failed) > tried // 10:
            raise MeasurementError(f"{len(failed)} of {tried} narrowed networks could not be run", value=failed)
        self._repeat_noisy(probed)
        probed.times = {widths: probed.times[widths] for widths in networks if widths in probed.times}  # in this order
        return probed

    def learn(self, networks: Sequence[Widths], probed: Probed) -> list[NetworkTime]:
        """What these networks take, in order; those that are not known yet are timed now.

        Raises:
            MeasurementError: one of them cannot be run.
        """
        unknown = [widths for widths in networks if widths not in probed.times]
        if unknown:
            self._measure(unknown, _ROUNDS[1], self.seed, probed)
        failed = [widths for widths in networks if widths not in probed.times]
        if failed:
            raise MeasurementError(f"{len(failed)} narrowed networks could not be run", value=failed)
        return [probed.times[widths] for widths in networks]

    def _recalled(self, networks: Sequence[Widths]) -> Probed:
        """What earlier sessions in this environment say of these networks."""
        keys = {self.timer.key(widths): widths for widths in networks}
        known = self.database.find(self.environment.key, list(keys))
        accounts = self.database.find_accounts(self.environment.key, list(keys), NetworkAccount)
        probed = Probed(accounts={keys[key]: account for key, account in accounts.items()})
        sessions: dict[str, Mapping[str, Measurement]] = {}
        for key, measurement in known.items():
            session = measurement.session
            if session not in sessions:
                sessions[session] = self.database.of_session(session)
            try:
                probed.times |= self.timer.ratios([keys[key]], sessions[session])
            except MeasurementError:  # timed without the dense network beside it: no ratio
                continue
        if probed.accounts:  # this engine gives accounts: a network without one is worth timing again
            probed.times = {widths: found for widths, found in probed.times.items() if widths in probed.accounts}
        probed.found = len(probed.times)
        return probed

    def _measure(self, block: Sequence[Widths], rounds: int, seed: int, probed: Probed) -> None:
        """Time a block; of a network that is known, the quieter time is kept."""
        timed = self.timer.time(block, _settings(rounds, seed), account=True)
        self.database.add(self.environment, timed.measurements)
        named = {self.timer.key(widths): account for widths, account in timed.accounts.items()}
        self.database.add_accounts(self.environment, named)
        for widths, found in timed.times.items():
            known = probed.times.get(widths)
            if known is None or found.noise < known.noise:
                probed.times[widths] = found
        probed.accounts |= timed.accounts
        if len(timed.dense) > 1:
            first, second = (statistics.median(samples) for samples in timed.dense[:2])
            probed.instances.append(math.log(first / second))

    def _repeat_noisy(self, probed: Probed) -> None:
        """Time the noisiest again, when something disturbed them; the quieter of the two sessions counts."""
        times = probed.times
        usual = sorted(found.noise for found in times.values())[len(times) // 2]
        noisy = [widths for widths, found in times.items() if found.noise > max(_NOISY, 2 * usual)]
        noisy = sorted(noisy, key=lambda widths: -times[widths].noise)[: int(_REPEATED_SHARE * len(times))]
        for start in range(0, len(noisy), _BLOCK):
            block = noisy[start : start + _BLOCK]
            self._measure(block, _ROUNDS[0] + 2, self.seed + len(times) + start, probed)
            self.progress("noisy networks again", start + len(block), len(noisy))


def _rounds(seconds: float, one_round: float) -> int:
    """How many rounds fit, the warm-up round taken off."""
    low, high = _ROUNDS
    return min(max(int(seconds / max(one_round, 1e-9)) - 1, low), high)


def _settings(rounds: int, seed: int) -> TimingSettings:
    return replace(
        settings_named("quick", seed=seed), min_rounds=rounds, max_rounds=rounds, half_width=0.0, max_seconds=3600.0,
        sample_seconds=0.002, warmup_seconds=0.0,
    )
