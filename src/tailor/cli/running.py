"""`prune`, `compare`, `demo`, `report`: whole runs, which end in a folder."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from tailor.cli.group import cli
from tailor.options import (
    CompareOptions,
    DemoOptions,
    PruneOptions,
    ReportOptions,
    command,
    compare_options,
    demo_options,
    graph_options,
    model_options,
    prune_options,
    report_options,
    target_options,
)

if TYPE_CHECKING:
    from tailor.pipeline import PruneResult

__all__ = ["compare", "demo", "prune", "report"]


@command(cli, "prune", PruneOptions)
@model_options
@prune_options
@graph_options
@target_options
def prune(options: PruneOptions) -> int:
    """Cut MODEL to a latency budget.

    Profile, search, cut, fine-tune, verify in a fresh process, save, report.
    """
    from tailor.console import ConsoleReporter
    from tailor.pipeline import prune as run_line
    from tailor.requests import has_weights, prune_request

    request = prune_request(options, click.get_current_context().find_root().obj)
    with ConsoleReporter() as console:
        if not has_weights(options.network):
            console.warn(f"{request.model_spec} has random weights; give --weights or --pretrained")
        result = run_line(request, console=console)
    return _conclude(result)


@command(cli, "compare", CompareOptions)
@model_options
@compare_options
@graph_options
@target_options
def compare(options: CompareOptions) -> int:
    """Prune MODEL with several methods under the same budgets, and write one table.

    All start from the same weights and get the same target, data split and fine-tuning. A comparison that was stopped
    goes on when it is asked for again.
    """
    from tailor.comparison import compare as run_comparison
    from tailor.comparison.writing import comparison_text
    from tailor.console import ConsoleReporter, terminal_columns
    from tailor.requests import compare_request, has_weights

    request = compare_request(options, click.get_current_context().find_root().obj)
    with ConsoleReporter() as console:
        if not has_weights(options.network):
            console.warn(f"{request.shared.model_spec} has random weights; give --weights or --pretrained")
        found = run_comparison(request, console=console)
    click.echo(comparison_text(found, terminal_columns(sys.stdout)))
    click.echo(request.shared.out / "compare.html")
    return 0


@command(cli, "demo", DemoOptions)
@demo_options
def demo(options: DemoOptions) -> int:
    """Show the whole line on a small network, in minutes.

    Trains a VGG-16-shaped network on handwritten digits, prunes it to 60 % of its latency on this machine, fine-tunes
    it, and verifies the saved result in a fresh process.
    """
    from tailor.console import ConsoleReporter
    from tailor.demo import run_demo

    with ConsoleReporter() as console:
        result = run_demo(options.out, console)
    return _conclude(result)


def _conclude(result: PruneResult) -> int:
    """The last two lines of a run, and its exit code."""
    from tailor.report import verdict_line

    click.echo(verdict_line(result.verdict, result.stages))
    click.echo(result.report)
    return result.verdict.outcome.exit_code


@command(cli, "report", ReportOptions)
@report_options
def report(options: ReportOptions) -> int:
    """Write the report of a run folder anew."""
    from tailor.report import write_report

    click.echo(write_report(options.run))
    return 0
