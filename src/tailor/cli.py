"""The command line: parse, call, print, exit code. Errors are one line; torch is imported only by what needs it."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tailor.errors import InvalidOptionError, TailorError
from tailor.options import (
    CompareOptions,
    DemoOptions,
    DoctorOptions,
    ExportOptions,
    InspectOptions,
    MeasureOptions,
    MethodsOptions,
    ProfileOptions,
    PruneOptions,
    ReportOptions,
    TargetOptions,
    WavesOptions,
    command,
    compare_options,
    demo_options,
    doctor_options,
    export_options,
    graph_options,
    inspect_options,
    json_option,
    measure_options,
    model_options,
    profile_options,
    prune_options,
    report_options,
    target_options,
    waves_options,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tailor.latency.profile import Profile
    from tailor.pipeline import PruneResult
    from tailor.records import GraphSummary
    from tailor.spec import ChannelGraph

__all__ = ["cli", "main"]

_INTERRUPTED = 130  # what a shell reports after Ctrl-C


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tailor-prune", prog_name="tailor")
@click.pass_context
def cli(context: click.Context) -> int:
    """Cut a trained CNN to a latency measured on the machine that will run it.

    MODEL is torchvision/NAME, timm/NAME, tailor/NAME or path/to/file.py:function. Exit codes: 0 pass, 1 error,
    2 usage, 3 budget missed, 4 undecided.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
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


@command(cli, "inspect", InspectOptions)
@model_options
@graph_options
@inspect_options
@json_option
def inspect(options: InspectOptions) -> int:
    """List what can be cut, what is pinned, and why.

    With --engine, also what the dense and the narrowest network take there, and each group's part of it.
    """
    from tailor.console import terminal_columns
    from tailor.report.graph import graph_summary
    from tailor.requests import traced
    from tailor.serialize import encode
    from tailor.tables import graph_text

    graph, model, example = traced(options.network, options.bounds)
    summary = graph_summary(graph)
    if options.place.engine:
        summary = _with_latency(summary, model, graph, example, options.place)
    columns = terminal_columns(sys.stdout)
    click.echo(encode(summary) if options.json else graph_text(options.network.model, summary, columns))
    return 0


def _with_latency(
    summary: GraphSummary, model: nn.Module, graph: ChannelGraph, example: Tensor, place: TargetOptions
) -> GraphSummary:
    """The summary with what was measured on the target."""
    from tailor.measuring.groups import group_latencies
    from tailor.requests import target_of
    from tailor.timing import settings_named

    settings = settings_named(place.protocol, seed=place.seed)
    return replace(summary, latency=group_latencies(model, graph, example, target_of(place), settings))


@command(cli, "profile", ProfileOptions)
@model_options
@graph_options
@target_options
@profile_options
@json_option
def profile(options: ProfileOptions) -> int:
    """Measure the staircase of every layer.

    Then fit, on whole networks of random widths, the model that predicts latency, and tell its held-out error.
    """
    from tailor.console import ConsoleReporter, terminal_columns
    from tailor.database import Database
    from tailor.profiling import profile as measure_profile
    from tailor.requests import target_of, traced
    from tailor.serialize import encode
    from tailor.tables import profile_text
    from tailor.timing import settings_named

    _check_plot(options.plot)
    place, name = options.place, options.network.model
    target, settings = target_of(place), settings_named(place.protocol, seed=place.seed)
    graph, model, example = traced(options.network, options.bounds)
    with ConsoleReporter() as console:
        console.stage(f"profile {name}: {target}")
        found = measure_profile(
            model, graph, example, target, database=Database(), settings=settings, networks=options.networks,
            seed=place.seed, progress=console.progress, tell=console.say,
        )
    _plot(found, options.plot)
    columns = terminal_columns(sys.stdout)
    click.echo(encode(found) if options.json else profile_text(name, found, columns))
    return 0


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


@command(cli, "measure", MeasureOptions)
@model_options
@target_options
@measure_options
@json_option
def measure(options: MeasureOptions) -> int:
    """Time MODEL, or the network of a run folder.

    With --vs, fresh instances of two networks are compared in one session. With --engine all (or several names with
    commas), the network is timed on every engine in one session, fastest first.
    """
    from tailor.measuring import measure as time_model
    from tailor.requests import open_model, several_engines, target_of
    from tailor.serialize import encode
    from tailor.tables.measure import timing_text
    from tailor.timing import settings_named

    network, place = options.network, options.place
    if several_engines(place):
        return _measure_engines(options)
    target, settings = target_of(place), settings_named(place.protocol, seed=place.seed)
    model, example = open_model(network, network.model)
    versus = None if options.versus is None else open_model(network, options.versus)[0]
    timing = time_model(model, example, target, settings=settings, versus=versus, instances=options.instances)
    click.echo(encode(timing) if options.json else timing_text(network.model, options.versus, timing))
    return 0


def _measure_engines(options: MeasureOptions) -> int:
    """One network on several engines in one table."""
    from tailor.console import ConsoleReporter, terminal_columns
    from tailor.measuring.engines import compare_engines, targets_named
    from tailor.requests import open_model, target_of
    from tailor.serialize import encode
    from tailor.tables.measure import engines_text
    from tailor.timing import settings_named

    network, place = options.network, options.place
    if options.versus is not None:
        message = f"--vs compares two networks on one engine; give one --engine instead of {place.engine}"
        raise InvalidOptionError(message, value=place.engine)
    targets = targets_named(place.engine, target_of(place))
    settings = settings_named(place.protocol, seed=place.seed)
    model, example = open_model(network, network.model)
    with ConsoleReporter() as console:
        console.stage(f"compile and time on {', '.join(dict.fromkeys(target.engine for target in targets))}")
        found = compare_engines(model, example, targets, settings=settings, instances=options.instances)
    columns = terminal_columns(sys.stdout)
    click.echo(encode(found) if options.json else engines_text(network.model, found, columns))
    return 0


@command(cli, "doctor", DoctorOptions)
@doctor_options
@json_option
def doctor(options: DoctorOptions) -> int:
    """Tell what can be measured here, how finely, and what would spoil it.

    Lists the engines with their A/A resolution on a small real network, the machine, and what to beware of.
    """
    from tailor.console import terminal_columns
    from tailor.measuring.doctor import examine
    from tailor.serialize import encode
    from tailor.spec import Target
    from tailor.tables.doctor import doctor_text

    found = examine(Target(device=options.device, threads=options.threads))
    click.echo(encode(found) if options.json else doctor_text(found, terminal_columns(sys.stdout)))
    return 0


@command(cli, "methods", MethodsOptions)
@json_option
def methods(options: MethodsOptions) -> int:
    """List the methods that prune knows, and the pieces each is made of."""
    from tailor.console import terminal_columns
    from tailor.methods import METHODS
    from tailor.tables.methods import methods_text

    if options.json:
        click.echo(json.dumps({name: dict(method.options) for name, method in METHODS.items()}, indent=2))
    else:
        click.echo(methods_text(METHODS.values(), terminal_columns(sys.stdout)))
    return 0


@command(cli, "analyze-waves", WavesOptions)
@model_options
@waves_options
@json_option
def analyze_waves(options: WavesOptions) -> int:
    """Count a GPU's waves in traces of torch.profiler, or of MODEL on the CUDA device here.

    Tells blocks, resident blocks and the tail of each kernel, and holds the fitted wave model against measured steps.
    MODEL is a trace file (.json or .json.gz), or a network, which is run at several batch sizes.
    """
    from tailor.console import terminal_columns
    from tailor.latency.wave_report import wave_report
    from tailor.profiling.gpu_trace import joined_traces, read_trace
    from tailor.requests import network_trace
    from tailor.serialize import encode
    from tailor.tables.waves import waves_text

    network = options.network
    is_trace = network.model.endswith((".json", ".json.gz"))
    first = read_trace(Path(network.model)) if is_trace else network_trace(network, options.largest_batch)
    trace = joined_traces([first, *(read_trace(path) for path in options.also)])
    found = wave_report(trace.gpu, trace.launches)
    click.echo(encode(found) if options.json else waves_text(found, terminal_columns(sys.stdout)))
    return 0


@command(cli, "export", ExportOptions)
@model_options
@export_options
@json_option
def export(options: ExportOptions) -> int:
    """Write the network of a run folder, or MODEL, in other formats.

    Each file is read back by the runtime that it is for, and its outputs are compared with the network's. A format
    that fails does not stop the others; the exit code is then 1.
    """
    from tailor.console import terminal_columns
    from tailor.exporting import export as write_formats
    from tailor.exporting import formats_named
    from tailor.requests import export_folder, open_model
    from tailor.serialize import encode
    from tailor.tables.export import export_text

    network = options.network
    formats = formats_named(options.formats)
    model, example = open_model(network, network.model)
    found = write_formats(
        model, example, out=options.out or export_folder(network.model), to=formats, batch_size=options.batch_size
    )
    click.echo(encode(found) if options.json else export_text(found, terminal_columns(sys.stdout)))
    return 0 if found.sound else 1


@command(cli, "report", ReportOptions)
@report_options
def report(options: ReportOptions) -> int:
    """Write the report of a run folder anew."""
    from tailor.report import write_report

    click.echo(write_report(options.run))
    return 0


def _conclude(result: PruneResult) -> int:
    """The last two lines of a run, and its exit code."""
    from tailor.report import verdict_line

    click.echo(verdict_line(result.verdict, result.stages))
    click.echo(result.report)
    return result.verdict.outcome.exit_code


def _check_plot(path: Path | None) -> None:
    """Refuse a figure format before minutes are spent on measuring for it."""
    if path is not None and path.suffix not in (".svg", ".png", ".pdf"):
        raise InvalidOptionError(f"--plot {path} must end in .svg, .png or .pdf", value=str(path))


def _plot(found: Profile, path: Path | None) -> None:
    if path is None:
        return
    from tailor.report.profile_sections import profile_figure
    from tailor.report.style import save_figure

    save_figure(profile_figure(found), path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code; a failure is one line on standard error.

    TAILOR_TRACEBACK=1 shows where an error came from.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli.main(args=words, prog_name="tailor", standalone_mode=False, obj=shlex.join(["tailor", *words]))
    except click.ClickException as error:
        code = _fail(_with_help(error), 2)
    except click.Abort:  # click's name for Ctrl-C
        code = _fail("stopped; a run goes on with the same command and --resume", _INTERRUPTED)
    except (TailorError, OSError) as error:
        if os.environ.get("TAILOR_TRACEBACK") == "1":
            raise
        code = _fail(_told(error), getattr(error, "exit_code", 1))
    sys.exit(code)


def _with_help(error: click.ClickException) -> str:
    """What click says is wrong, and where the right way is written."""
    context = getattr(error, "ctx", None)
    where = f"; see `{context.command_path} --help`" if context is not None else ""
    return f"{error.format_message().rstrip('.')}{where}"


def _told(error: TailorError | OSError) -> str:
    """The message, without the number that the system puts before its own."""
    if isinstance(error, TailorError) or not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def _fail(message: str, code: int) -> int:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return code
