"""Writes a comparison: JSON and CSV for programs, Markdown and one HTML page for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from tailor.comparison.rows import ComparedRun, Comparison
from tailor.console import table_text
from tailor.report.document import Code, Document, Facts, Picture, Section, Table
from tailor.report.html import html_page
from tailor.report.markdown import markdown_page
from tailor.report.style import INK, bare_axes, look, new_figure, page_svg
from tailor.report.wording import count, percent
from tailor.serialize import write_bytes, write_record

__all__ = ["comparison_table", "comparison_text", "trade_figure", "write_comparison"]

HEADERS = (
    "method", ">budget", ">seed", "verdict", ">top-1", ">latency", ">95 % interval", ">MACs", ">parameters",
    ">channels", ">structures", ">search, s", ">all, s",
)
_NOTHING = "-"
_MARKERS = "os^vDP*Xhd<>p"


def write_comparison(folder: Path, found: Comparison) -> Path:
    """Write compare.json, .csv, .md and .html into the folder; the path of the page."""
    page = folder / "compare.html"
    document = _document(found)
    write_record(folder / "compare.json", found)
    write_bytes(folder / "compare.csv", _csv(found).encode())
    write_bytes(folder / "compare.md", markdown_page(document).encode())
    write_bytes(page, html_page(document).encode())
    return page


def comparison_table(found: Comparison) -> list[tuple[str, ...]]:
    """One row a run: budgets in the order given, the most accurate first, errors last."""
    budgets = list(dict.fromkeys(run.budget for run in found.runs))

    def place(run: ComparedRun) -> tuple[int, float]:
        return budgets.index(run.budget), -(run.accuracy[1] if run.accuracy else -1.0)

    return [_cells(run) for run in sorted(found.runs, key=place)]


def comparison_text(found: Comparison, columns: int) -> str:
    """The table for a terminal."""
    return table_text(HEADERS, comparison_table(found), columns=columns)


def _cells(run: ComparedRun) -> tuple[str, ...]:
    ratio = run.ratio
    return (
        run.method,
        run.budget,
        str(run.seed),
        run.outcome,
        _NOTHING if run.accuracy is None else percent(run.accuracy[1], 2),
        _NOTHING if ratio is None else percent(ratio.value),
        _NOTHING if ratio is None else f"{percent(ratio.low)} to {percent(ratio.high)}",
        *(_share(pair) for pair in (run.macs, run.parameters, run.channels)),
        _NOTHING if run.structures is None else count(run.structures),
        _NOTHING if run.search_seconds is None else f"{run.search_seconds:.0f}",
        _NOTHING if run.seconds is None else f"{run.seconds:.0f}",
    )


def _share(pair: tuple[int, int] | None) -> str:
    return _NOTHING if pair is None else percent(pair[1] / max(1, pair[0]))


def _csv(found: Comparison) -> str:
    """Plain numbers, one run a line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ("method", "budget", "seed", "outcome", "dense_top1", "top1", "ratio", "ratio_low", "ratio_high", "dense_macs",
         "macs", "dense_parameters", "parameters", "dense_channels", "channels", "structures", "search_seconds",
         "seconds", "reason")
    )
    for run in found.runs:
        ratio = (None,) * 3 if run.ratio is None else (run.ratio.value, run.ratio.low, run.ratio.high)
        pairs = [value for pair in (run.macs, run.parameters, run.channels) for value in pair or (None, None)]
        writer.writerow(
            (run.method, run.budget, run.seed, run.outcome, *(run.accuracy or (None, None)), *ratio, *pairs,
             run.structures, run.search_seconds, run.seconds, run.reason)
        )
    return text.getvalue()


def trade_figure(found: Comparison) -> Figure:
    """Top-1 against measured latency, one mark a method, with the latency's 95 % interval."""
    with look():
        figure = new_figure(820, 420)
        axes = figure.add_subplot()
        bare_axes(axes)
        methods = list(dict.fromkeys(run.method for run in found.runs))
        for number, method in enumerate(methods):
            runs = sorted(
                ((run.ratio, run.accuracy) for run in found.runs
                 if run.method == method and run.ratio is not None and run.accuracy is not None),
                key=lambda pair: pair[0].value,
            )
            if not runs:
                continue
            places = [100 * ratio.value for ratio, _ in runs]
            reach = [
                [100 * (ratio.value - ratio.low) for ratio, _ in runs],
                [100 * (ratio.high - ratio.value) for ratio, _ in runs],
            ]
            axes.errorbar(
                places, [100 * accuracy[1] for _, accuracy in runs], xerr=reach, ms=5.5, lw=1.0, elinewidth=0.8,
                marker=_MARKERS[number % len(_MARKERS)], color=f"C{number % 10}", label=method,
            )
        dense = next((run.accuracy[0] for run in found.runs if run.accuracy is not None), None)
        if dense is not None:
            axes.axhline(100 * dense, color=INK, lw=0.8, ls=":")
            axes.annotate("dense", (1, 100 * dense), xycoords=("axes fraction", "data"), ha="right", va="bottom")
        axes.set_xlabel("measured latency over the dense network's, %")
        axes.set_ylabel("top-1, %")
        if axes.get_legend_handles_labels()[0]:  # none where every run ended in an error
            axes.legend(loc="lower right", ncols=2)
    return figure


def _document(found: Comparison) -> Document:
    passed = sum(run.outcome == "PASS" for run in found.runs)
    failures = tuple((f"{run.method} at {run.budget}", run.reason) for run in found.runs if run.outcome == "ERROR")
    sections = [
        Section(
            title="Methods side by side",
            lead="All from the same dense weights, on the same target, data split and fine-tuning; latencies are those "
            "of a fresh process, over the dense network's.",
            blocks=(
                Table(headers=HEADERS, rows=tuple(comparison_table(found))),
                Picture(svg=page_svg(trade_figure(found), "trade", "Top-1 against latency"),
                        caption="Top-1 on the test images against measured latency, with its 95 % interval."),
            ),
        )
    ]
    if failures:
        lead = "Runs that ended in an error."
        sections.append(Section(title="Not reached", lead=lead, blocks=(Facts(rows=failures),)))
    facts = tuple(sorted(found.environment.facts.items()))
    blocks = (Facts(rows=facts), Code(text=found.command)) if found.command else (Facts(rows=facts),)
    sections.append(Section(title="Conditions", lead=f"Measured on {found.target}.", blocks=blocks))
    return Document(
        title=f"{found.model}: methods compared",
        subtitle=f"{found.data}, {found.target}, recipe {found.recipe} with {found.epochs} epochs",
        outcome="COMPARED",
        line=f"{passed} of {len(found.runs)} runs kept their budget",
        reason=_winners(found.runs),
        warnings=(),
        numbers=(),
        sections=tuple(sections),
    )


def _winners(runs: Sequence[ComparedRun]) -> str:
    """The most accurate run that kept its budget, per budget."""
    found = []
    for budget in dict.fromkeys(run.budget for run in runs):
        kept = [
            (run.accuracy[1], run.method) for run in runs
            if run.budget == budget and run.outcome == "PASS" and run.accuracy is not None
        ]
        if kept:
            accuracy, method = max(kept)
            found.append(f"{budget}: {method} with {percent(accuracy, 2)}")
    return "; ".join(found) if found else "no run kept its budget"
