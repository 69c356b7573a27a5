"""What all ratios of one session have in common: the state that a shared host was in.

Neighbours slow small networks otherwise than large ones, for minutes. With r the measured and p the predicted ratio of
a network to the dense one,

    log r = log p + level + slope log p + noise

where level and slope are a session's own, normal about a mean that all sessions share: random coefficients, by
expectation and maximisation (Laird and Ware, 1982). A session of many networks tells its two numbers well, although the
prediction of each of them is only rough; one of few is pulled towards no state at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Deviation", "SessionState", "session_states"]

FloatArray = npt.NDArray[np.float64]

_ROUNDS = 50
_USUAL = 0.03  # standard deviations that the search for the likeliest ones begins with
_LEAST = 1e-5  # and what they never fall below
_FARTHEST = 0.15  # a network further off than this is disturbed by itself and counts as if it were so far off


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """One network in one session: its predicted ratio, log(measured / predicted), and the standard error of that."""

    predicted: float
    log_error: float
    noise: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionState:
    """By how much the ratios of a session are off the mean of all sessions: exp(level) predicted^slope times."""

    level: float
    slope: float

    def factor(self, predicted: float) -> float:
        """What a network of this predicted ratio seems slower by."""
        return math.exp(self.level + self.slope * math.log(predicted))


def session_states(sessions: Mapping[str, Sequence[Deviation]]) -> dict[str, SessionState]:
    """The state of each session, about the mean of all: the mean of levels, and of slopes, is 0.

    Sessions count by the number of their networks: the more these are, the longer it lasted and the more of the host it
    met. One session alone has none that could be told from a wrong prediction.
    """
    if not sessions:
        return {}
    found = np.array(_posterior_means([_arrays(known) for known in sessions.values()]))
    found -= np.average(found, axis=0, weights=[len(known) for known in sessions.values()])
    return {
        session: SessionState(level=float(level), slope=float(slope))
        for session, (level, slope) in zip(sessions, found, strict=True)
    }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Session:
    """One session as arrays: design [networks, 2], log errors and variances of their noise [networks]."""

    design: FloatArray
    errors: FloatArray
    noise: FloatArray


def _arrays(known: Sequence[Deviation]) -> _Session:
    sizes = np.log([each.predicted for each in known])
    return _Session(
        design=np.stack([np.ones_like(sizes), sizes], axis=1),
        errors=np.clip([each.log_error for each in known], -_FARTHEST, _FARTHEST),
        noise=np.array([each.noise**2 for each in known]),
    )


def _posterior_means(sessions: Sequence[_Session]) -> list[FloatArray]:
    """Each session's level and slope, given all: what is expected of them at the likeliest variances."""
    mean: FloatArray = np.zeros(2)
    covariance: FloatArray = np.eye(2) * _USUAL**2
    rest = _USUAL**2  # variance of what is neither noise nor state: the prediction's own error
    means: list[FloatArray] = []
    for _ in range(_ROUNDS):
        inverse = np.linalg.inv(covariance)
        means, covariances, rests = [], [], 0.0
        for session in sessions:
            variance = session.noise + rest
            weighted = session.design.T / variance
            own = np.linalg.inv(weighted @ session.design + inverse)
            means.append(own @ (weighted @ session.errors + inverse @ mean))
            covariances.append(own)
            left = (session.errors - session.design @ means[-1]) ** 2
            left += np.einsum("ij,jk,ik->i", session.design, own, session.design)
            rests += float(np.sum((rest / variance) ** 2 * left + rest * session.noise / variance))
        rest = max(rests / sum(len(session.errors) for session in sessions), _LEAST**2)
        mean = np.mean(means, axis=0)
        apart = [np.outer(each - mean, each - mean) for each in means]
        covariance = np.mean([*map(np.add, covariances, apart)], axis=0) + np.eye(2) * _LEAST**2
    return means
