"""What export prints: one row per format, and every file by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tailor.console import table_text
from tailor.report.wording import seconds
from tailor.tables.network import facts_text

if TYPE_CHECKING:
    from tailor.exporting import Exported, ExportReport

__all__ = ["export_text"]


def export_text(report: ExportReport, columns: int) -> str:
    """Which formats are sound, how far their outputs are from the network's, and what was written."""
    facts = facts_text(
        [
            ("batch size", "any" if report.batch_size is None else f"{report.batch_size} only"),
            ("tolerance", f"{report.tolerance:g} of each output's largest entry"),
            ("denormal weights", f"{report.denormals} set to zero" if report.denormals else "none"),
        ]
    )
    rows = [_row(each) for each in report.formats]
    headers = ("format", "status", ">difference", ">MB", ">time", "written by", "read back by", "files or failure")
    return "\n\n".join([facts, table_text(headers, rows, columns=columns)])


def _row(each: Exported) -> tuple[str, ...]:
    return (
        each.format,
        "FAILED" if each.failure is not None else "ok",
        "" if each.difference is None else f"{each.difference:.1e}",
        f"{each.bytes / 1e6:.2f}" if each.bytes else "",
        seconds(each.seconds),
        each.writer,
        each.reader,
        each.failure if each.failure is not None else ", ".join(each.files),
    )
