"""From a run's records to its document: the head, the large numbers and the order of the sections."""

from __future__ import annotations

from dataclasses import dataclass

from tailor.records import Reductions, Verdict
from tailor.report import sections
from tailor.report.document import Document, Number, Section
from tailor.report.folder import RunRecords
from tailor.report.profile_sections import latency_model, staircases
from tailor.report.wording import change, count, duration, percent, points, verdict_line

__all__ = ["ReportSummary", "compose", "summarise"]

_ORDER = (
    sections.verification,
    sections.stages,
    sections.training,
    sections.widths,
    sections.pins,
    staircases,
    latency_model,
    sections.search,
    sections.method,
    sections.conditions,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSummary:
    """What a program wants to know of a run (report.json); `missing` names files that the run did not reach."""

    line: str
    outcome: str
    model: str | None
    command: str | None
    verdict: Verdict | None
    reductions: Reductions | None
    missing: tuple[str, ...]


def compose(run: RunRecords) -> Document:
    """The whole report; what was not reached is said where it would stand."""
    outcome, line, reason = _finding(run)
    parts = tuple(section(run) for section in _ORDER)
    if run.missing:
        lead = f"This run folder lacks {', '.join(run.missing)}: the run was stopped, or is still going on."
        parts = (*parts, Section(title="Missing", lead=lead))
    return Document(
        title=run.config.model if run.config else "A run without its configuration",
        subtitle=_subtitle(run),
        outcome=outcome,
        line=line,
        reason=reason,
        warnings=run.verdict.warnings if run.verdict else (),
        numbers=_numbers(run.reductions),
        sections=parts,
    )


def summarise(run: RunRecords) -> ReportSummary:
    """The machine-readable side of the same records."""
    outcome, line, _reason = _finding(run)
    return ReportSummary(
        line=line,
        outcome=outcome,
        model=run.config.model if run.config else None,
        command=run.config.command if run.config else None,
        verdict=run.verdict,
        reductions=run.reductions,
        missing=run.missing,
    )


def _finding(run: RunRecords) -> tuple[str, str, str]:
    """Outcome, line and reason of the verdict, or what to do about a run without one."""
    if run.verdict is None:
        return "NO VERDICT YET", "the run ended before verification", "Continue it with --resume."
    return run.verdict.outcome.value, verdict_line(run.verdict, run.stages), run.verdict.reason


def _subtitle(run: RunRecords) -> str:
    if run.config is None:
        return "config.json is missing"
    return f"{run.config.target}; method {run.config.method}"


def _numbers(record: Reductions | None) -> tuple[Number, ...]:
    """The five metrics of the LACP paper."""
    if record is None:
        return ()
    numbers = []
    if record.accuracy is not None:
        dense, pruned = record.accuracy
        texts = {"before": percent(dense, 2), "after": percent(pruned, 2), "change": points(dense, pruned)}
        numbers.append(Number(label="top-1 accuracy", **texts))
    counted = (
        ("latency", record.latency_ns, duration),
        ("MACs", record.macs, count),
        ("parameters", record.parameters, count),
        ("channels", record.channels, count),
    )
    for label, (before, after), worded in counted:
        numbers.append(Number(label=label, before=worded(before), after=worded(after), change=change(before, after)))
    return tuple(numbers)
