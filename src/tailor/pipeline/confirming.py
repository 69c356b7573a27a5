"""A fresh process judges the finalists: the first within the budget wins, and what it refused is remembered."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tailor import persist
from tailor.channels import cut
from tailor.finalists import Finalist
from tailor.pipeline.finishing import judge
from tailor.pipeline.request import Line
from tailor.records import Outcome, Verdict
from tailor.spec import KeepPlan, Widths

__all__ = ["Confirmed", "confirmed"]

FRESH_TRIES = 3  # finalists that a fresh process may refuse before the fastest of them is taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """The finalist to go on with, whether a fresh process found it within the budget, and what it refused before."""

    keep: KeepPlan
    winner: Finalist
    passed: bool
    refused: tuple[tuple[Finalist, Verdict], ...]


def confirmed(line: Line, finalists: Sequence[Finalist]) -> Confirmed:
    """The first finalist that a fresh process finds within the budget, else the fastest that it saw."""
    refused: list[tuple[Finalist, Verdict]] = []
    for finalist in finalists[:FRESH_TRIES]:
        verdict = _judged(line, finalist)
        line.console.say(f"structure {finalist.trial.number}: {verdict.outcome.value}, {verdict.reason}")
        if verdict.outcome is Outcome.PASS:
            return Confirmed(keep=_keep(line, finalist), winner=finalist, passed=True, refused=tuple(refused))
        refused.append((finalist, verdict))
    fastest, _ = min(refused, key=lambda each: each[1].ratio.value)
    return Confirmed(keep=_keep(line, fastest), winner=fastest, passed=False, refused=tuple(refused))


def _judged(line: Line, finalist: Finalist) -> Verdict:
    small = cut(line.source, line.graph, _keep(line, finalist))
    with tempfile.TemporaryDirectory() as place:
        persist.save(small, Path(place))
        return judge(replace(line, settings=line.screening), small, Path(place), data=None)


def _keep(line: Line, finalist: Finalist) -> KeepPlan:
    return line.ranking.keep(Widths(finalist.trial.widths))
