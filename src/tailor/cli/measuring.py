"""`measure`, `profile`, `doctor`, `analyze-waves`: how long networks take, and why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tailor.cli.group import cli
from tailor.errors import InvalidOptionError
from tailor.options import (
    DoctorOptions,
    MeasureOptions,
    ProfileOptions,
    WavesOptions,
    command,
    doctor_options,
    graph_options,
    json_option,
    measure_options,
    model_options,
    profile_options,
    target_options,
    waves_options,
)

if TYPE_CHECKING:
    from tailor.latency.profile import Profile

__all__ = ["analyze_waves", "doctor", "measure", "profile"]


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
