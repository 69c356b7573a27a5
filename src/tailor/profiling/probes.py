"""Times many whole networks in a given time: block by block beside the dense one, the noisiest once more."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tailor.database import Database
from tailor.errors import MeasurementError
from tailor.profiling.layers import Progress
from tailor.profiling.networks import NetworkTime, NetworkTimer
from tailor.records import Environment, TimingSettings
from tailor.spec import Widths
from tailor.timing import settings_named

__all__ = ["NetworkProbes"]

_BLOCK = 8  # networks beside one dense sentinel; more would spread a round over too long a time
_ROUNDS = (4, 15)  # fewest and most rounds per network
_FEWEST = 24  # networks below which time is overrun rather than the model starved
_NOISY = 0.02  # relative standard error from which a network is timed once more, if it is also far above the others
_REPEATED_SHARE = 0.2  # at most so many of the networks are timed again


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkProbes:
    """Fits as many networks as it can into the seconds it is given, and stores what it measured."""

    timer: NetworkTimer
    environment: Environment
    database: Database
    seed: int
    progress: Progress

    def time(
        self, networks: Sequence[Widths], *, seconds: float, dense_seconds: float
    ) -> dict[Widths, NetworkTime]:
        """Ratios of the networks in order until the time is used up (but at least 24), the first for certain.

        Rounds are planned from the dense latency first, then from what the blocks really took.

        Raises:
            MeasurementError: the first (the narrowest), or more than a tenth of the networks, cannot be run.
        """
        networks = networks[: max(_FEWEST, int(seconds / (0.7 * dense_seconds * (_ROUNDS[0] + 1))))]
        started = time.perf_counter()
        per_round = 0.7 * dense_seconds * (2 if dense_seconds < settings_named("quick").prime_seconds else 1)
        times: dict[Widths, NetworkTime] = {}
        tried = 0
        while tried < len(networks):
            left = seconds - (time.perf_counter() - started)
            if tried >= _FEWEST and left <= 0:
                break
            block = networks[tried : tried + _BLOCK]
            rounds = _rounds(left, per_round * (len(networks) - tried))
            before = time.perf_counter()
            times |= self._measure(block, rounds, self.seed + tried)
            per_round = (time.perf_counter() - before) / (rounds + 1) / len(block)
            tried += len(block)
            self.progress("networks", tried, len(networks))
        failed = [widths for widths in networks[:tried] if widths not in times]
        if networks[0] in failed or len(failed) > tried // 10:
            raise MeasurementError(f"{len(failed)} of {tried} narrowed networks could not be run", value=failed)
        return self._repeat_noisy(times)

    def _measure(self, block: Sequence[Widths], rounds: int, seed: int) -> dict[Widths, NetworkTime]:
        found, measurements = self.timer.time(block, _settings(rounds, seed))
        self.database.add(self.environment, measurements)
        return found

    def _repeat_noisy(self, times: dict[Widths, NetworkTime]) -> dict[Widths, NetworkTime]:
        """Time the noisiest again, when something disturbed them; the quieter of the two sessions counts."""
        usual = sorted(found.noise for found in times.values())[len(times) // 2]
        noisy = [widths for widths, found in times.items() if found.noise > max(_NOISY, 2 * usual)]
        noisy = sorted(noisy, key=lambda widths: -times[widths].noise)[: int(_REPEATED_SHARE * len(times))]
        best = dict(times)
        for start in range(0, len(noisy), _BLOCK):
            block = noisy[start : start + _BLOCK]
            again = self._measure(block, _ROUNDS[0] + 2, self.seed + len(times) + start)
            best |= {widths: found for widths, found in again.items() if found.noise < best[widths].noise}
            self.progress("noisy networks again", start + len(block), len(noisy))
        return best


def _rounds(seconds: float, one_round: float) -> int:
    """How many rounds fit, the warm-up round taken off."""
    low, high = _ROUNDS
    return min(max(int(seconds / max(one_round, 1e-9)) - 1, low), high)


def _settings(rounds: int, seed: int) -> TimingSettings:
    return replace(
        settings_named("quick", seed=seed), min_rounds=rounds, max_rounds=rounds, half_width=0.0, max_seconds=3600.0,
        sample_seconds=0.002, warmup_seconds=0.0,
    )
