"""Another search, with predictions put right by what the last one ended with: over the budget, or far below it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from tailor.finalists import Finalist, room_left
from tailor.latency.anchored import AnchoredLatency
from tailor.pipeline.anchoring import anchor_of
from tailor.pipeline.request import Line
from tailor.pipeline.task import SearchTask
from tailor.records import Anchor, Verdict
from tailor.search import SearchResult
from tailor.spec import Widths

__all__ = ["SEARCHES", "TRIALS", "after_refusal", "before", "with_room_left"]

TRIALS = "trials.jsonl"  # the search's journal in the run folder
SEARCHES = 3  # of one run at most, before it goes on with what it has


def before(line: Line) -> Anchor:
    """What measuring before this search came to."""
    return line.folder.stored("anchor", Anchor) or Anchor()


def after_refusal(
    task: SearchTask, latency: AnchoredLatency, result: SearchResult, refused: Sequence[tuple[Finalist, Verdict]]
) -> AnchoredLatency | None:
    """The model put right by the structures that a fresh process refused as too slow, for another search.

    By what their intervals' upper ends take of the budget: see `_again`. None also where nothing was refused for its
    latency.
    """
    slow = [(finalist, verdict.budget_taken) for finalist, verdict in refused if verdict.budget_taken > 1]
    taken = [(finalist, share * task.limit_ns) for finalist, share in slow]
    return _again(task.line, latency, result, taken, kept=(), why="nothing was confirmed within the budget")


def with_room_left(
    task: SearchTask, latency: AnchoredLatency, result: SearchResult, finalists: Sequence[Finalist]
) -> AnchoredLatency | None:
    """The model put right by better structures that measured over the limit, where the best within leaves much of it.

    By the upper ends of their intervals: see `_again`. The best one within the limit is tried again beside what the
    new search finds. None also where no room is left.
    """
    best = finalists[0]
    better = room_left(finalists, best, task.share)
    over = [(each, each.ratio.high * task.profiled.dense_ns) for each in better]
    why = f"the best structure within the budget takes {best.ratio.value:.1%} of dense, better ones measured over it"
    return _again(task.line, latency, result, over, kept=(best,), why=why)


def _again(
    line: Line,
    latency: AnchoredLatency,
    result: SearchResult,
    taken_ns: Sequence[tuple[Finalist, float]],
    *,
    kept: Sequence[Finalist],
    why: str,
) -> AnchoredLatency | None:
    """The model times the median of taken over predicted latency: at least half of these are not proposed again.

    The finished journal goes. None where no other search would help: there is nothing to learn from, this was search
    number SEARCHES, or latencies are measured and not predicted.
    """
    anchor = before(line)
    if not taken_ns or anchor.search >= SEARCHES or line.method.latency == "measured":
        return None
    slow = {Widths(finalist.trial.widths) for finalist, _ in taken_ns}
    again = dict.fromkeys(Widths(widths) for widths in (*(each.trial.widths for each in kept), *anchor.kept))
    ratios = [anchor.factor * taken / finalist.trial.latency.ns for finalist, taken in taken_ns]
    found = replace(
        anchor_of(statistics.median(ratios), ratios),
        search=anchor.search + 1,
        kept=tuple(widths for widths in again if widths not in slow),
        tried=anchor.tried + len(result.trials),
        seconds=anchor.seconds + result.seconds,
    )
    (line.folder.path / TRIALS).unlink()  # first: a run that is stopped here searches as before
    line.folder.store("anchor", found)
    line.console.warn(
        f"{why}; predictions are put right by {found.factor - 1:+.1%} now, and the search begins anew "
        f"({found.search} of at most {SEARCHES})"
    )
    return latency.times(found.factor)
