"""Whole candidate networks, built and timed beside the dense one: the truth that predictions are held against."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from torch import nn

from tailor.channels import build
from tailor.engines.subjects import network_subject
from tailor.importance.selection import Ranking
from tailor.instances import Session, compare_instances
from tailor.measuring import instances_of, samples_of
from tailor.protocols import Device
from tailor.records import Estimate, Interval, TimingSettings, Trial
from tailor.spec import Target, Widths
from tailor.timing import ratio_interval

__all__ = ["CandidateTimer", "Finalist", "Near", "choose", "given_away", "lost_to_noise", "room_left"]

_FREEDOM = 6  # degrees of freedom from which on Student's interval is hardly wider than the normal one's
_CLOSE = 0.97  # of the limit: a winner above it leaves too little room to look for more
_FAR = 0.9  # of the limit: a winner below it leaves room that the user should hear of
_SESSIONS = 3  # how often a finalist that may keep the limit is timed before it is left undecided


class CandidateTimer:
    """Times networks of given widths in one session with the dense network; latencies are ratios to it.

    Also a `LatencyModel` that measures every structure it is asked about ("latency as the direct metric").
    """

    def __init__(
        self,
        model: nn.Module,
        ranking: Ranking,
        example_inputs: Any,
        target: Target,
        device: Device,
        settings: TimingSettings,
        dense_ns: int,
    ) -> None:
        self._model = model
        self._ranking = ranking
        self._inputs = example_inputs
        self._target = target
        self._device = device
        self._settings = settings
        self._dense_ns = dense_ns
        self._sessions: dict[Widths, list[Session]] = defaultdict(list)

    def ratios(self, structures: Sequence[Widths]) -> list[Interval]:
        """Latency over the dense network's, for each structure, from a session with fresh instances of all.

        Sessions add up: a structure that is asked for again is known by all its sessions, and more closely.

        Raises:
            MeasurementError: a network could not be run; names its failure.
        """
        count = max(2, 1 + math.ceil(_FREEDOM / (1 + len(structures))))
        dense, *rest = self._samples(structures, 1 if self._settings.statistic == "mean" else count)
        for widths, own in zip(structures, rest, strict=True):
            self._sessions[widths].append((own, dense))
        if len(dense) == 1:
            return [_by_rounds(self._sessions[widths], self._settings.statistic) for widths in structures]
        return [
            compare_instances(
                self._sessions[widths],
                statistic=self._settings.statistic,
                peers=[other for other in rest if other is not own],
            ).ratio
            for widths, own in zip(structures, rest, strict=True)
        ]

    def predict(self, widths: Widths) -> Estimate:
        """The latency of one structure, measured with one instance: a search asks for hundreds of them."""
        dense, own = self._samples([widths], 1)
        ratio = ratio_interval(own[0], dense[0], statistic=self._settings.statistic)
        ns, low, high = (round(share * self._dense_ns) for share in (ratio.value, ratio.low, ratio.high))
        return Estimate(ns=ns, low_ns=low, high_ns=high, source="measured")

    def _samples(self, structures: Sequence[Widths], instances: int) -> list[list[tuple[int, ...]]]:
        """Samples of every instance, the dense network first."""
        nets = [build(self._model, self._ranking.graph, self._ranking.keep(widths)) for widths in structures]
        modules = {"dense": self._model} | {f"candidate {number}": net for number, net in enumerate(nets)}
        subjects = {
            key: network_subject(key, net, self._inputs, self._target.batch_size) for key, net in modules.items()
        }
        timed = instances_of(self._device, subjects, replace(self._settings, paired=True), instances)
        return samples_of(timed, self._settings.statistic)


def _by_rounds(sessions: Sequence[Session], statistic: str) -> Interval:
    """The ratio of two networks with one instance each, over the rounds of all sessions."""
    own = [ns for instances, _ in sessions for ns in instances[0]]
    return ratio_interval(own, [ns for _, instances in sessions for ns in instances[0]], statistic=statistic)


class Near(Protocol):
    """Scored structures near measured ones, each with measured over predicted latency of the one it is near to."""

    def __call__(self, finalists: Sequence[Finalist]) -> Sequence[tuple[Trial, float]]:
        """For finalists by falling score."""


class Finalist:
    """A scored trial with its measured ratio to the dense network."""

    __slots__ = ("ratio", "trial")

    def __init__(self, trial: Trial, ratio: Interval) -> None:
        self.trial = trial
        self.ratio = ratio

    @property
    def score(self) -> float:
        """What the search gave it."""
        return self.trial.score or 0.0


def choose(
    trials: Sequence[Trial],
    timer: CandidateTimer,
    dense_ns: int,
    limit_ns: int,
    *,
    near: Near | None = None,
    shortlist: int = 6,
    rounds: int = 4,
) -> list[Finalist]:
    """Measured finalists, those within the limit first and by falling score, then the others by rising latency.

    The best-scored trials are measured side by side, those that may well keep the limit until it is known. Where none
    keeps it, what measuring taught about the prediction's error is applied to all trials and the next shortlist is
    drawn, up to `rounds` times: corrected by the median error first, then by ever larger ones. With `near` this goes on
    while the best one within leaves room, and the structures near the best-scored ones, wherever these were measured to
    lie, are tried beside the rest: each of them is predicted by the error of the one that it is near to.
    """
    limit = limit_ns / dense_ns
    left = [_Contender(trial) for trial in trials if trial.score is not None]
    measured: list[Finalist] = []
    excess, least = 1.0, -math.inf
    for number in range(1, rounds + 1):
        batch = _shortlist(left, excess, limit_ns, least)[:shortlist]
        if not batch:
            break
        ratios = timer.ratios([Widths(each.trial.widths) for each in batch])
        new = [Finalist(each.trial, ratio) for each, ratio in zip(batch, ratios, strict=True)]
        measured += new
        left = [each for each in left if each not in batch]
        _settle(measured, timer, limit)
        within = [f for f in measured if f.ratio.high <= limit]
        if within and (near is None or max(f.ratio.high for f in within if f.score == _best(within)) > _CLOSE * limit):
            break
        least = _best(within)
        if near is not None and number < rounds:
            left += [_Contender(*each) for each in near(sorted(new, key=lambda f: (-f.score, f.ratio.value)))]
        errors = sorted(f.ratio.value * dense_ns / f.trial.latency.ns for f in measured)
        excess = max(1.0, errors[len(errors) * number // (number + 1)])
    kept = [f for f in measured if f.ratio.high <= limit]
    missed = [f for f in measured if f.ratio.high > limit]
    kept.sort(key=lambda f: (-f.score, f.ratio.value))
    return kept + sorted(missed, key=lambda f: f.ratio.value)


@dataclass(frozen=True, slots=True, eq=False)
class _Contender:
    """A scored trial that is not measured yet; `excess` is what its own prediction has to be multiplied by."""

    trial: Trial
    excess: float | None = None


def _shortlist(left: Sequence[_Contender], excess: float, limit_ns: int, least: float) -> list[_Contender]:
    """Those that should keep the limit and score above `least`, by falling score; where none should, the fastest."""
    better = [each for each in left if (each.trial.score or 0.0) > least]

    def expected(each: _Contender) -> float:
        return each.trial.latency.ns * (each.excess or excess)

    fitting = [each for each in better if expected(each) <= limit_ns]
    fitting.sort(key=lambda each: (-(each.trial.score or 0.0), expected(each), each.trial.number))
    return fitting or (sorted(better, key=expected) if math.isinf(least) else [])


def _best(finalists: Sequence[Finalist]) -> float:
    return max((f.score for f in finalists), default=-math.inf)


def lost_to_noise(finalists: Sequence[Finalist], winner: Finalist, limit: float) -> str | None:
    """Say which structure scores better than the winner and measured within the limit, only never surely."""
    better = [f for f in finalists if f.score > winner.score and f.ratio.value <= limit < f.ratio.high]
    if not better:
        return None
    lost = max(better, key=lambda f: f.score)
    ratio = lost.ratio
    return (
        f"structure {winner.trial.number} (score {winner.score:.4g}, {winner.ratio.value:.1%} of dense) is taken, not "
        f"{lost.trial.number} (score {lost.score:.4g}): its {ratio.value:.1%} ({ratio.low:.1%} to {ratio.high:.1%}) "
        f"could not be shown to be within {limit:.1%} (the budget less the timing's resolution) on so noisy a machine"
    )


def room_left(finalists: Sequence[Finalist], winner: Finalist, limit: float) -> list[Finalist]:
    """The better structures that were not measured within the limit, where the winner leaves a tenth of it or more."""
    if winner.ratio.value > _FAR * limit:
        return []
    return [f for f in finalists if f.score > winner.score and f.ratio.high > limit]


def given_away(finalists: Sequence[Finalist], winner: Finalist, limit: float) -> str | None:
    """Say that the winner takes far less than the limit because what scores better measured over it."""
    over = [f for f in room_left(finalists, winner, limit) if f.ratio.value > limit]
    if not over:
        return None
    closest = min(over, key=lambda f: f.ratio.value)
    return (
        f"structure {winner.trial.number} takes {winner.ratio.value:.1%} of dense where {limit:.1%} is allowed: of "
        f"those that score better, the fastest measured ({closest.trial.number}) takes {closest.ratio.value:.1%}; "
        "ask for a little less time, or search with another seed"
    )


def _settle(measured: Sequence[Finalist], timer: CandidateTimer, limit: float) -> None:
    """Time those again that may keep the limit and would win: on a busy machine one session says too little of them."""
    for _ in range(_SESSIONS - 1):
        best = _best([f for f in measured if f.ratio.high <= limit])
        open_ = [f for f in measured if f.score > best and f.ratio.value <= limit < f.ratio.high]
        if not open_:
            return
        for finalist, ratio in zip(open_, timer.ratios([Widths(f.trial.widths) for f in open_]), strict=True):
            finalist.ratio = ratio
