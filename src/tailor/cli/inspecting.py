"""`inspect`, `methods`, `export`: what a network is made of, what can be done to it, and its other formats."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from tailor.cli.group import cli
from tailor.options import (
    ExportOptions,
    InspectOptions,
    MethodsOptions,
    TargetOptions,
    command,
    export_options,
    graph_options,
    inspect_options,
    json_option,
    model_options,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tailor.records import GraphSummary
    from tailor.spec import ChannelGraph

__all__ = ["export", "inspect", "methods"]


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
