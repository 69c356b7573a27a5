"""Times many whole networks in a given time: block by block beside the dense one, then the most doubtful again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import accumulate

import psutil

from tailor.database import Database
from tailor.errors import MeasurementError
from tailor.latency.accounts import NetworkAccount
from tailor.profiling.layers import Progress
from tailor.profiling.networks import NetworkTime, NetworkTimer
from tailor.profiling.pace import MOST_ROUNDS, USUAL_ROUNDS, Pace
from tailor.profiling.probed import Probed
from tailor.records import Environment, TimingSettings
from tailor.spec import Widths
from tailor.timing import settings_named

__all__ = ["NetworkProbes"]

# Networks beside the dense one, fewest and most. The more, the longer a session takes and the surer it meets what
# states a shared host has; on a GPU the fewest, because it holds the working memory of all of them at once.
_BLOCK = (8, 72)
_FIRST = 24  # networks of the first session, which tells how long they take
# Slow networks are fewer, so that a round takes no longer than this: beside 71 others a narrowed ResNet-18 takes up to
# a tenth longer, and more in a session's first rounds, while the dense one does not.
_ROUND_SECONDS = 2.0
_MEMORY_SHARE = 4  # a session's networks may fill one part in so many of the memory that is free
_FEWEST = 24  # networks below which time is overrun rather than the model starved
_QUIET = 0.01  # relative standard error from which on more rounds or sessions would teach the model nothing
_MOST_SESSIONS = 4  # of one network
_REPEATED = (0.2, 1.0)  # timing again may take at least and at most so much of the time that the first pass took


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkProbes:
    """Fits as many networks as it can into the seconds it is given, by its clock, and stores what it measured."""

    timer: NetworkTimer
    environment: Environment
    database: Database
    seed: int
    progress: Progress
    clock: Callable[[], float] = time.perf_counter

    def time(
        self,
        networks: Sequence[Widths],
        *,
        seconds: float,
        pace: Pace,
        error: Callable[[Mapping[Widths, NetworkTime]], float],
    ) -> Probed:
        """Learn the networks in order until the time is used up (but at least 24), the first for certain.

        What the database knows costs no time: all versions of the network that were timed in this environment count,
        and of those asked for only as many are timed as they leave open. Rounds are planned by `pace` first, then by
        what the blocks really took; a block stops earlier once all its ratios are known. The most doubtful are timed
        again in further sessions, for which a sixth of the time is kept. `error` chooses what counts, quiet levels or
        usual ones (`Probed.choose`).

        Raises:
            MeasurementError: the first (the narrowest), or more than a tenth of the networks, cannot be run.
        """
        probed = self._recalled(networks)
        unknown = _unknown(networks, probed)
        first_pass = seconds / (1 + _REPEATED[0])
        started = self.clock()
        tried, rounds = 0, USUAL_ROUNDS
        while tried < len(unknown):
            left = first_pass - (self.clock() - started)
            if tried + probed.found >= _FEWEST and left <= 0:
                break
            rounds = pace.rounds(left / (len(unknown) - tried))
            waiting = unknown[tried:] if tried else unknown[:_FIRST]
            block = self._block(waiting, left, pace, rounds)
            pace = self._measure(block, rounds, self.seed + tried, probed)
            tried += len(block)
            more = int((first_pass - (self.clock() - started)) / pace.seconds(rounds))
            self.progress("networks", tried, min(tried + max(0, more), len(unknown)))
        failed = [widths for widths in unknown[:tried] if widths not in probed.sessions]
        if networks[0] in failed or len(failed) > (tried + probed.found) // 10:
            raise MeasurementError(f"{len(failed)} of {tried} narrowed networks could not be run", value=failed)
        probed.choose(error)
        if tried:
            spent = self.clock() - started
            least, most = (share * spent for share in _REPEATED)
            self._repeat_noisy(probed, rounds, pace, min(most, max(least, seconds - spent)))
            probed.choose(error)
        probed.keep(dict.fromkeys([*networks, *probed.sessions]))
        return probed

    def known(self) -> int:
        """How many versions of the network the database knows from this environment."""
        return len(self.database.find(self.environment.key, list(self._members())))

    def learn(self, networks: Sequence[Widths], probed: Probed) -> list[NetworkTime]:
        """What these networks take, in order; those that are not known yet are timed now.

        Raises:
            MeasurementError: one of them cannot be run.
        """
        unknown = [widths for widths in networks if widths not in probed.sessions]
        if unknown:
            self._measure(unknown, MOST_ROUNDS, self.seed, probed)
        failed = [widths for widths in networks if widths not in probed.sessions]
        if failed:
            raise MeasurementError(f"{len(failed)} narrowed networks could not be run", value=failed)
        times = probed.times
        return [times[widths] for widths in networks]

    def _block(self, networks: Sequence[Widths], seconds: float, pace: Pace, rounds: int) -> list[Widths]:
        """The first of these, for the next session: what fits into the time and the memory that are left, in bounds.

        So many as the first session's are timed together whatever time a round takes.
        """
        fewest, most = _BLOCK
        most = min(most, max(_FIRST, int(_ROUND_SECONDS / pace.one_round)))
        if self.environment.facts.get("device", "cpu") != "cpu":
            return [*networks[:fewest]]
        chosen = [*networks[: min(most, max(fewest, int(seconds / pace.seconds(rounds))))]]
        filled = accumulate(self.timer.bytes(widths) for widths in chosen)
        limit = psutil.virtual_memory().available / _MEMORY_SHARE
        return chosen[: max(fewest, sum(size <= limit for size in filled))]

    def _recalled(self, networks: Sequence[Widths]) -> Probed:
        """What earlier sessions in this environment say of these and of all other versions of the network."""
        keys = self._members() | {self.timer.key(widths): widths for widths in networks}
        known = self.database.find_all(self.environment.key, list(keys))
        accounts = self.database.find_accounts(self.environment.key, list(keys), NetworkAccount)
        probed = Probed(accounts={keys[key]: account for key, account in accounts.items()})
        named: dict[str, list[Widths]] = {}
        for key, measurement in ((key, each) for key, found in known.items() for each in found):
            named.setdefault(measurement.session, []).append(keys[key])
        sessions = {session: self.database.of_session(session) for session in named}
        for session, own in named.items():
            with suppress(MeasurementError):  # timed without the dense network beside them: no ratios
                probed.add(session, self.timer.ratios(own, sessions[session]))
        if probed.accounts:  # this engine gives accounts: a network without one is worth timing again
            probed.keep([widths for widths in probed.sessions if widths in probed.accounts])
        for session in dict.fromkeys(name for own in probed.sessions.values() for name in own):
            probed.add_instances(self.timer.instances(sessions[session]))
        probed.found = len(probed.sessions)
        return probed

    def _members(self) -> dict[str, Widths]:
        """Every version of the network that was ever timed, by key."""
        members = self.database.members(self.timer.family, dict[str, int])
        return {key: Widths(widths) for key, widths in members.items()}

    def _measure(self, block: Sequence[Widths], rounds: int, seed: int, probed: Probed) -> Pace:
        """Time a block beside the dense network for so many rounds at most, and keep what was found."""
        started = self.clock()
        timed = self.timer.time(block, _settings(rounds, seed), account=True)
        self.database.add(self.environment, timed.measurements)
        self.database.add_members(self.timer.family, {self.timer.key(widths): widths for widths in block})
        probed.add(timed.session, timed.times)
        probed.add_accounts(timed.accounts)
        named = {self.timer.key(widths): probed.accounts[widths] for widths in timed.accounts}
        self.database.add_accounts(self.environment, named)
        probed.add_instances(timed.instances)
        spent = self.clock() - started
        return Pace.seen(spent=spent, in_rounds=timed.seconds, rounds=timed.rounds, networks=len(block))

    def _repeat_noisy(self, probed: Probed, rounds: int, pace: Pace, seconds: float) -> None:
        """Time the noisiest networks again, in other company each time, until all are quiet or the time is used up."""
        started, done = self.clock(), 0
        while (left := seconds - (self.clock() - started)) > 0:
            sessions = probed.sessions
            doubts = {
                widths: doubt for widths, doubt in probed.doubts().items()
                if doubt > _QUIET and len(sessions[widths]) < _MOST_SESSIONS
            }
            if not doubts:
                break
            block = self._block(sorted(doubts, key=lambda widths: -doubts[widths]), left, pace, rounds)
            pace = self._measure(block, rounds, self.seed + len(sessions) + done, probed)
            done += len(block)
            self.progress("noisy networks again", done, done + len(doubts) - len(block))


def _unknown(networks: Sequence[Widths], probed: Probed) -> list[Widths]:
    """What is left to be timed: so many that as many are known as were asked for, the first of these always."""
    unknown = [widths for widths in networks if widths not in probed.sessions]
    return unknown[: max(networks[0] in unknown, len(networks) - probed.found)]


def _settings(rounds: int, seed: int) -> TimingSettings:
    """So many rounds at most; from the usual number on, no more than the ratios need."""
    return replace(
        settings_named("quick", seed=seed), min_rounds=min(rounds, USUAL_ROUNDS), max_rounds=rounds,
        half_width=1.96 * _QUIET, paired=True, max_seconds=3600.0, sample_seconds=0.002, warmup_seconds=0.0,
    )
