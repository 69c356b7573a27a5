"""Times many whole networks in a given time: block by block beside the dense one, then the most doubtful again."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from tailor.database import Database
from tailor.errors import MeasurementError
from tailor.latency.accounts import NetworkAccount
from tailor.profiling.layers import Progress
from tailor.profiling.networks import NetworkTime, NetworkTimer
from tailor.profiling.pace import MOST_ROUNDS, USUAL_ROUNDS, Pace
from tailor.records import Environment, Measurement, TimingSettings
from tailor.spec import Widths
from tailor.timing import SHARES, quickest_interval, settings_named

__all__ = ["NetworkProbes", "Probed", "Said"]

# Networks beside one dense sentinel, fewest and most. The more, the longer a session takes and the surer it meets quiet
# moments of a shared host; on a GPU the fewest, because it holds the working memory of all of them at once.
_BLOCK = (8, 24)
_FEWEST = 24  # networks below which time is overrun rather than the model starved
_QUIET = 0.01  # relative standard error from which on more rounds or sessions would teach the model nothing
_MOST_SESSIONS = 4  # of one network
_REPEATS, _BETTER = 12, 0.8  # sessions that must disagree, and by how much less usual levels must, to be preferred
_REPEATED = (0.2, 1.0)  # timing again may take at least and at most so much of the time that the first pass took


@dataclass(slots=True, kw_only=True)
class Said:
    """What all sessions say by one statistic: ratios to the dense network, and how far its instances lay apart."""

    sessions: dict[Widths, list[NetworkTime]] = field(default_factory=dict)
    instances: list[float] = field(default_factory=list)

    @property
    def times(self) -> dict[Widths, NetworkTime]:
        """Each network's ratio from all its sessions, those of a disturbed host counting less."""
        every = [session.dense_ns for known in self.sessions.values() for session in known]
        quietest = min(every, default=1.0)
        return {
            widths: NetworkTime.combined([session.judged(quietest) for session in known])
            for widths, known in self.sessions.items()
        }

    @property
    def instance_noise(self) -> float:
        """Relative standard deviation of one instance of a network against another, 0 when it was not seen."""
        if len(self.instances) < 2:
            return 0.0
        return math.sqrt(statistics.fmean(value**2 for value in self.instances) / 2)

    @property
    def disagreements(self) -> list[float]:
        """By how much, in logs, each network's sessions differ from one to the next."""
        return [
            math.log(later.ratio / earlier.ratio)
            for known in self.sessions.values()
            for earlier, later in pairwise(known)
        ]


@dataclass(slots=True, kw_only=True)
class Probed:
    """What is known of whole networks: what their sessions say by each statistic, and accounts."""

    said: dict[str, Said] = field(default_factory=lambda: {statistic: Said() for statistic in SHARES})
    accounts: dict[Widths, NetworkAccount] = field(default_factory=dict)
    found: int = 0  # taken from the database

    @property
    def statistic(self) -> str:
        """The one by which sessions agree: quiet levels, unless the usual ones of the same networks agree better."""
        quiet, usual = (self.said[statistic].disagreements for statistic in ("quiet", "usual"))
        if len(quiet) < _REPEATS or _square(usual) >= _BETTER**2 * _square(quiet):
            return "quiet"
        return "usual"

    @property
    def sessions(self) -> dict[Widths, list[NetworkTime]]:
        """Every session's ratio of each network."""
        return self.said[self.statistic].sessions

    @property
    def times(self) -> dict[Widths, NetworkTime]:
        """Each network's ratio from all its sessions."""
        return self.said[self.statistic].times

    @property
    def instance_noise(self) -> float:
        """Relative standard deviation of one instance of a network against another, 0 when it was not seen."""
        return self.said[self.statistic].instance_noise

    def add(self, times: Mapping[str, Mapping[Widths, NetworkTime]]) -> None:
        """Keep what one session found, by statistic."""
        for statistic, own in times.items():
            for widths, found in own.items():
                self.said[statistic].sessions.setdefault(widths, []).append(found)

    def add_instances(self, dense: Sequence[Sequence[int]]) -> None:
        """Keep how far two instances of the dense network lay apart in one session."""
        for statistic, said in self.said.items():
            first, second = (quickest_interval(samples, statistic).value for samples in dense[:2])
            said.instances.append(math.log(first / second))

    def add_accounts(self, accounts: Mapping[Widths, NetworkAccount]) -> None:
        """Keep what the engine accounted for in one session that was added; accounts of one network are averaged."""
        sessions = self.sessions
        for widths, account in accounts.items():
            known = self.accounts.get(widths)
            share = 1 / max(1, len(sessions.get(widths, ())))
            self.accounts[widths] = account if known is None else known.averaged(account, share)

    def keep(self, networks: Iterable[Widths]) -> None:
        """Forget all other networks, and bring these into this order."""
        known = self.sessions
        order = [widths for widths in networks if widths in known]
        for said in self.said.values():
            said.sessions = {widths: said.sessions[widths] for widths in order}

    def doubts(self) -> dict[Widths, float]:
        """Relative standard error of each network's ratio: its samples' noise, and what fresh instances differ by."""
        said = self.said[self.statistic]
        return {
            widths: math.hypot(found.noise, said.instance_noise / math.sqrt(len(said.sessions[widths])))
            for widths, found in said.times.items()
        }


def _square(values: Sequence[float]) -> float:
    return statistics.fmean(value**2 for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkProbes:
    """Fits as many networks as it can into the seconds it is given, and stores what it measured."""

    timer: NetworkTimer
    environment: Environment
    database: Database
    seed: int
    progress: Progress

    def time(self, networks: Sequence[Widths], *, seconds: float, pace: Pace) -> Probed:
        """Learn the networks in order until the time is used up (but at least 24), the first for certain.

        What the database knows costs no time. Rounds are planned by `pace` first, then by what the blocks really took;
        a block stops earlier once all its ratios are known. The most doubtful are timed again in further sessions, for
        which a sixth of the time is kept.

        Raises:
            MeasurementError: the first (the narrowest), or more than a tenth of the networks, cannot be run.
        """
        probed = self._recalled(networks)
        unknown = [widths for widths in networks if widths not in probed.sessions]
        first_pass = seconds / (1 + _REPEATED[0])
        started = time.perf_counter()
        tried, rounds = 0, USUAL_ROUNDS
        while tried < len(unknown):
            left = first_pass - (time.perf_counter() - started)
            if tried + probed.found >= _FEWEST and left <= 0:
                break
            rounds = pace.rounds(left / (len(unknown) - tried))
            block = unknown[tried : tried + self._block(left, pace, rounds)]
            pace = self._measure(block, rounds, self.seed + tried, probed)
            tried += len(block)
            more = int((first_pass - (time.perf_counter() - started)) / pace.seconds(rounds))
            self.progress("networks", tried, min(tried + max(0, more), len(unknown)))
        failed = [widths for widths in unknown[:tried] if widths not in probed.sessions]
        if networks[0] in failed or len(failed) > tried // 10:
            raise MeasurementError(f"{len(failed)} of {tried} narrowed networks could not be run", value=failed)
        if tried:
            spent = time.perf_counter() - started
            least, most = (share * spent for share in _REPEATED)
            self._repeat_noisy(probed, rounds, pace, min(most, max(least, seconds - spent)))
        probed.keep(networks)
        return probed

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

    def _block(self, seconds: float, pace: Pace, rounds: int) -> int:
        """How many networks the next session takes: what fits into the time that is left, in bounds."""
        fewest, most = _BLOCK
        if self.environment.facts.get("device", "cpu") != "cpu":
            return fewest
        return min(most, max(fewest, int(seconds / pace.seconds(rounds))))

    def _recalled(self, networks: Sequence[Widths]) -> Probed:
        """What earlier sessions in this environment say of these networks."""
        keys = {self.timer.key(widths): widths for widths in networks}
        known = self.database.find_all(self.environment.key, list(keys))
        accounts = self.database.find_accounts(self.environment.key, list(keys), NetworkAccount)
        probed = Probed(accounts={keys[key]: account for key, account in accounts.items()})
        sessions: dict[str, Mapping[str, Measurement]] = {}
        for key, measurement in ((key, each) for key, found in known.items() for each in found):
            session = measurement.session
            if session not in sessions:
                sessions[session] = self.database.of_session(session)
            try:
                probed.add(self.timer.ratios([keys[key]], sessions[session]))
            except MeasurementError:  # timed without the dense network beside it: no ratio
                continue
        if probed.accounts:  # this engine gives accounts: a network without one is worth timing again
            probed.keep([widths for widths in probed.sessions if widths in probed.accounts])
        probed.found = len(probed.sessions)
        return probed

    def _measure(self, block: Sequence[Widths], rounds: int, seed: int, probed: Probed) -> Pace:
        """Time a block beside the dense network for so many rounds at most, and keep what was found."""
        started = time.perf_counter()
        timed = self.timer.time(block, _settings(rounds, seed), account=True)
        self.database.add(self.environment, timed.measurements)
        probed.add(timed.times)
        probed.add_accounts(timed.accounts)
        named = {self.timer.key(widths): probed.accounts[widths] for widths in timed.accounts}
        self.database.add_accounts(self.environment, named)
        if len(timed.dense) > 1:
            probed.add_instances(timed.dense)
        spent = time.perf_counter() - started
        return Pace.seen(spent=spent, in_rounds=timed.seconds, rounds=len(timed.dense[0]), networks=len(block))

    def _repeat_noisy(self, probed: Probed, rounds: int, pace: Pace, seconds: float) -> None:
        """Time the noisiest networks again, in other company each time, until all are quiet or the time is used up."""
        started, done = time.perf_counter(), 0
        while (left := seconds - (time.perf_counter() - started)) > 0:
            sessions = probed.sessions
            doubts = {
                widths: doubt for widths, doubt in probed.doubts().items()
                if doubt > _QUIET and len(sessions[widths]) < _MOST_SESSIONS
            }
            if not doubts:
                break
            block = sorted(doubts, key=lambda widths: -doubts[widths])[: self._block(left, pace, rounds)]
            pace = self._measure(block, rounds, self.seed + len(sessions) + done, probed)
            done += len(block)
            self.progress("noisy networks again", done, done + len(doubts) - len(block))


def _settings(rounds: int, seed: int) -> TimingSettings:
    """So many rounds at most; from the usual number on, no more than the ratios need."""
    return replace(
        settings_named("quick", seed=seed), min_rounds=min(rounds, USUAL_ROUNDS), max_rounds=rounds,
        half_width=1.96 * _QUIET, paired=True, max_seconds=3600.0, sample_seconds=0.002, warmup_seconds=0.0,
    )
