"""Ties timing sessions together by what several of them timed, so that numbers from all of them can be compared.

The host is in another state in every session. With y the log of what subject k took in session j,

    y = level of k + state of j + noise,    state and noise normal, about 0

a mixed model whose two variances are found by expectation and maximisation (Laird and Ware, 1982). The noise is what
the samples tell of, and what copies of one subject differ by beside: their memory lies elsewhere in every session.
Where hardly anything differs, states are drawn towards none: the noise of a yardstick is not taken for one.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["Reading", "Tied", "tie_sessions"]

FloatArray = npt.NDArray[np.float64]
Subject = TypeVar("Subject", bound=Hashable)

_BELIEVED = 12  # degrees of freedom that what the samples tell counts like
_ROUNDS, _CLOSE = 40, 3e-3  # at most so many, fewer once variances change by less than this
# What is believed before anything was seen: standard deviations of states and of copies, and how many say so.
_STATE, _COPY = (0.02, 1), (0.005, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The log of a latency in ns, and the standard error of that."""

    log: float
    error: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tied(Generic[Subject]):
    """Every subject's level in the clock of the largest session, and how far its readings are apart after all.

    `apart` is the standard deviation of one reading beside levels and states, by so many degrees of `freedom`; `told`
    what the samples tell of it, the root mean square of all readings' errors.
    """

    levels: Mapping[Subject, Reading]
    states: Mapping[str, float]
    apart: float
    freedom: int
    told: float

    @property
    def repeats(self) -> float:
        """By how much one reading is off: what samples tell, as long as few subjects were timed again."""
        squares = self.freedom * self.apart**2 + _BELIEVED * self.told**2
        return math.sqrt(squares / (self.freedom + _BELIEVED))


def tie_sessions(sessions: Mapping[str, Mapping[Subject, Reading]]) -> Tied[Subject]:
    """Levels of all subjects and states of all sessions; of sessions equally large the first is the clock.

    A session that has no subject in common with any other is taken as it is.
    """
    if not sessions:
        return Tied(levels={}, states={}, apart=0.0, freedom=0, told=0.0)
    order = sorted(sessions, key=lambda session: -len(sessions[session]))
    shared = _Shared.of([sessions[session] for session in order])
    copy, states, doubts = shared.solved()
    readings: dict[Subject, list[tuple[float, float, float]]] = {}
    for session, state, doubt in zip(order, states, doubts, strict=True):
        for subject, reading in sessions[session].items():
            readings.setdefault(subject, []).append((reading.log - state, reading.error**2 + copy, doubt))
    return Tied(
        levels={subject: _level(known) for subject, known in readings.items()},
        states=dict(zip(order, states, strict=True)),
        apart=shared.apart(states, copy),
        freedom=shared.freedom,
        told=math.sqrt(statistics.fmean(reading.error**2 for own in sessions.values() for reading in own.values())),
    )


def _level(known: list[tuple[float, float, float]]) -> Reading:
    """The mean of (log, variance, variance of its session's state), by how sure each is beside its session's state."""
    total = sum(1 / variance for _, variance, _ in known)
    shares = [1 / variance / total for _, variance, _ in known]
    log = sum(share * log for share, (log, _, _) in zip(shares, known, strict=True))
    doubt = sum(share**2 * doubt for share, (_, _, doubt) in zip(shares, known, strict=True))
    return Reading(log=log, error=math.sqrt(1 / total + doubt))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Shared:
    """All readings of subjects that more than one session timed: session and subject of each, log and variance."""

    sessions: int
    session: npt.NDArray[np.int64]
    subject: npt.NDArray[np.int64]
    logs: FloatArray
    noise: FloatArray

    @classmethod
    def of(cls, sessions: list[Mapping[Subject, Reading]]) -> _Shared:
        """In the order of the sessions; the first is the clock."""
        counts = Counter(subject for session in sessions for subject in session)
        places = {subject: place for place, subject in enumerate(s for s, count in counts.items() if count > 1)}
        rows = [
            (number, places[subject], reading.log, reading.error**2)
            for number, session in enumerate(sessions)
            for subject, reading in session.items()
            if subject in places
        ]
        return cls(
            sessions=len(sessions),
            session=np.array([row[0] for row in rows], dtype=np.int64),
            subject=np.array([row[1] for row in rows], dtype=np.int64),
            logs=np.array([row[2] for row in rows], dtype=float),
            noise=np.array([row[3] for row in rows], dtype=float),
        )

    @property
    def subjects(self) -> int:
        """How many subjects more than one session timed."""
        return int(self.subject.max()) + 1 if len(self.subject) else 0

    @property
    def freedom(self) -> int:
        """Readings beyond those that levels and states need."""
        return max(0, len(self.logs) - self.subjects - (self.sessions - 1))

    def solved(self) -> tuple[float, list[float], list[float]]:
        """The variance that copies add, and the states (the clock's is 0) with their variances, at the likeliest."""
        state, copy = _STATE[0] ** 2, _COPY[0] ** 2
        others = self.sessions - 1
        if not len(self.logs) or not others:
            return copy, [0.0] * self.sessions, [0.0] + [state] * others
        found, covariance = np.zeros(0), np.zeros((0, 0))
        for _ in range(_ROUNDS):
            variance = self.noise + copy
            found, covariance, left = self._solved(variance, state)
            copies = float(np.sum((copy / variance) ** 2 * left + copy * self.noise / variance))
            states = float(np.sum(found**2 + np.diag(covariance)))
            before = copy, state
            copy = (copies + _COPY[1] * _COPY[0] ** 2) / (len(self.logs) + _COPY[1])
            state = (states + _STATE[1] * _STATE[0] ** 2) / (others + _STATE[1])
            if all(math.isclose(new, old, rel_tol=_CLOSE) for new, old in zip((copy, state), before, strict=True)):
                break
        return copy, [0.0, *found.tolist()], [0.0, *np.diag(covariance).tolist()]

    def _solved(self, variance: FloatArray, state: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """States but for the clock's, their covariance, and the expected square of what each reading is off.

        Levels are eliminated (Schur complement): a database may know many more subjects than sessions.
        """
        weights, logs = np.zeros((2, self.subjects, self.sessions))
        weights[self.subject, self.session] = 1 / variance
        logs[self.subject, self.session] = self.logs
        total = weights.sum(axis=1)
        shares = weights / total[:, None]
        means = np.sum(shares * logs, axis=1)
        precision = np.diag(weights.sum(axis=0)) - weights.T @ shares + np.eye(self.sessions) / state
        pulled = np.sum(weights * (logs - means[:, None]), axis=0)
        covariance = np.linalg.inv(precision[1:, 1:])
        states = np.array([0.0, *(covariance @ pulled[1:])])
        off = self.logs - (means - shares @ states)[self.subject] - states[self.session]
        beside = -shares[self.subject, 1:]
        beside += np.eye(self.sessions)[self.session, 1:]
        doubt = 1 / total[self.subject] + np.sum((beside @ covariance) * beside, axis=1)
        return states[1:], covariance, off**2 + doubt

    def apart(self, states: list[float], copy: float) -> float:
        """The standard deviation of readings beside their subject's level and their session's state."""
        if not self.freedom:
            return 0.0
        logs = self.logs - np.array(states)[self.session]
        weights = 1 / (self.noise + copy)
        total, weighed = np.zeros(self.subjects), np.zeros(self.subjects)
        np.add.at(total, self.subject, weights)
        np.add.at(weighed, self.subject, weights * logs)
        left = logs - (weighed / total)[self.subject]
        return math.sqrt(float(left @ left) / self.freedom)
