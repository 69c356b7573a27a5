"""What is known of whole networks: the ratios of all their sessions, by each statistic, and their engine's accounts."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tailor.latency.accounts import NetworkAccount
from tailor.profiling.networks import NetworkTime
from tailor.profiling.states import Deviation, session_states
from tailor.spec import Widths
from tailor.timing import SHARES

__all__ = ["Probed", "Said"]

_FEWEST = 24  # networks below which a model's error tells nothing of the statistic
_BETTER = 0.9  # of the error by quiet levels that usual ones must fall below to be preferred


@dataclass(slots=True, kw_only=True)
class Said:
    """What all sessions say by one statistic: ratios to the dense network, and what its instances took.

    `sessions` are each network's ratios by the name of the session, `instances` each session's latencies of the dense
    network, one an instance, in ns.
    """

    sessions: dict[Widths, dict[str, NetworkTime]] = field(default_factory=dict)
    instances: list[tuple[float, ...]] = field(default_factory=list)

    @property
    def times(self) -> dict[Widths, NetworkTime]:
        """Each network's ratio from all its sessions."""
        return {widths: NetworkTime.combined([*known.values()]) for widths, known in self.sessions.items()}

    def steadied(self, predicted: Mapping[Widths, float]) -> tuple[Said, float]:
        """The same without what the host's state added in each session, and the root mean square of what it added.

        `predicted` are ratios to the dense network, told by a model that did not see the network; networks without one,
        or for which it tells nothing above 0, are left as they are.
        """
        predicted = {widths: ratio for widths, ratio in predicted.items() if ratio > 0}
        deviations: dict[str, list[Deviation]] = {}
        for widths, ratio in predicted.items():
            for session, time in self.sessions[widths].items():
                off = Deviation(predicted=ratio, log_error=math.log(time.ratio / ratio), noise=time.noise)
                deviations.setdefault(session, []).append(off)
        states = session_states(deviations)
        factors = {
            widths: {session: states[session].factor(ratio) for session in self.sessions[widths]}
            for widths, ratio in predicted.items()
        }
        sessions = {
            widths: {session: time.over(factors.get(widths, {}).get(session, 1.0)) for session, time in known.items()}
            for widths, known in self.sessions.items()
        }
        added = [math.log(factor) for own in factors.values() for factor in own.values()]
        return Said(sessions=sessions, instances=self.instances), math.sqrt(_square(added)) if added else 0.0

    @property
    def instance_noise(self) -> float:
        """Relative standard deviation of one instance of a network against another, 0 when it was not seen."""
        freedom = sum(len(latencies) - 1 for latencies in self.instances)
        if freedom < 2:
            return 0.0
        logs = [[math.log(ns) for ns in latencies] for latencies in self.instances]
        return math.sqrt(sum((log - statistics.fmean(own)) ** 2 for own in logs for log in own) / freedom)


@dataclass(slots=True, kw_only=True)
class Probed:
    """What is known of whole networks: what their sessions say by each statistic, the one that counts, and accounts."""

    said: dict[str, Said] = field(default_factory=lambda: {statistic: Said() for statistic in SHARES})
    accounts: dict[Widths, NetworkAccount] = field(default_factory=dict)
    found: int = 0  # taken from the database
    statistic: str = "quiet"

    def choose(self, error: Callable[[Mapping[Widths, NetworkTime]], float]) -> None:
        """Count by quiet levels, unless the networks fit together better by usual ones.

        `error` is how far a model that was fitted to some of the networks is from others that it has not seen. Noise is
        part of that, of the samples, of instances and of sessions alike, by whichever statistic it is smaller.
        """
        quiet, usual = (self.said[statistic].times for statistic in ("quiet", "usual"))
        better = len(quiet) >= _FEWEST and error(usual) < _BETTER * error(quiet)
        self.statistic = "usual" if better else "quiet"

    @property
    def sessions(self) -> dict[Widths, dict[str, NetworkTime]]:
        """Every session's ratio of each network, by the session's name."""
        return self.said[self.statistic].sessions

    @property
    def times(self) -> dict[Widths, NetworkTime]:
        """Each network's ratio from all its sessions."""
        return self.said[self.statistic].times

    @property
    def instance_noise(self) -> float:
        """Relative standard deviation of one instance of a network against another, 0 when it was not seen."""
        return self.said[self.statistic].instance_noise

    def steadied(self, predicted: Mapping[Widths, float]) -> tuple[dict[Widths, NetworkTime], float]:
        """Each network's ratio without what the host's state added in each session (see `Said.steadied`)."""
        said, added = self.said[self.statistic].steadied(predicted)
        return said.times, added

    def add(self, session: str, times: Mapping[str, Mapping[Widths, NetworkTime]]) -> None:
        """Keep what one session found, by statistic."""
        for statistic, own in times.items():
            for widths, found in own.items():
                self.said[statistic].sessions.setdefault(widths, {})[session] = found

    def add_instances(self, instances: Mapping[str, tuple[float, ...]]) -> None:
        """Keep by statistic what instances of the dense network took in one session, in ns."""
        for statistic, latencies in instances.items():
            self.said[statistic].instances.append(latencies)

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
