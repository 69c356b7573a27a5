"""The whole line: trace, profile, search, cut, recalibrate, fine-tune, verify in a fresh process, save, report."""

from __future__ import annotations

from tailor.console import Reporter
from tailor.pipeline.begin import begin
from tailor.pipeline.finishing import reductions_of, refined, verified
from tailor.pipeline.profiled import as_profiled, profiled_on
from tailor.pipeline.reach import check_reach
from tailor.pipeline.request import PruneRequest, PruneResult
from tailor.pipeline.searching import searched
from tailor.report import write_report

__all__ = ["PruneRequest", "PruneResult", "prune"]


def prune(request: PruneRequest, *, console: Reporter) -> PruneResult:
    """Cut, fine-tune and verify a network; every stage's result is stored, and a stopped run resumes after it.

    Raises:
        TailorError: the request cannot be met; nothing is written before options, model, data and folder are sound.
    """
    line = begin(request, console)
    check_reach(line)
    profiled = profiled_on(line)
    line, keep = searched(as_profiled(line, profiled), profiled)
    small, stages = refined(line, keep)
    verdict = verified(line, small)
    reductions = reductions_of(line, keep, stages, verdict)
    line.folder.store("reductions", reductions)
    report = write_report(line.folder.path)
    return PruneResult(
        verdict=verdict,
        model=small,
        widths=keep.widths,
        keep=keep,
        stages=stages,
        reductions=reductions,
        out=line.folder.path,
        report=report,
    )
