"""What the command line takes, as records: one frozen record per command, filled by click."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TypeVar, get_type_hints

import click

__all__ = [
    "CompareOptions",
    "DemoOptions",
    "DoctorOptions",
    "ExportOptions",
    "GraphOptions",
    "InspectOptions",
    "MeasureOptions",
    "MethodsOptions",
    "ModelOptions",
    "ProfileOptions",
    "PruneOptions",
    "ReportOptions",
    "TargetOptions",
    "WavesOptions",
    "command",
    "compare_options",
    "demo_options",
    "doctor_options",
    "export_options",
    "graph_options",
    "inspect_options",
    "json_option",
    "measure_options",
    "model_options",
    "profile_options",
    "prune_options",
    "report_options",
    "target_options",
    "waves_options",
]

Record = TypeVar("Record")
Function = TypeVar("Function", bound=Callable[..., object])


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Which network, with which weights, on which input size ((channels, height, width); None is the network's own)."""

    model: str
    weights: Path | None
    pretrained: bool
    classes: int | None
    input_shape: tuple[int, int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphOptions:
    """Which channels must stay, how fine cuts may be, and whether the exported graph or whole branches may be cut."""

    pin: tuple[str, ...]
    min_width: int
    quantum: int
    form: str
    depth: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOptions:
    """Where and how the network will run, and how it is timed; `batch_size` None leaves it to the protocol."""

    engine: str
    device: str
    batch_size: int | None
    threads: int
    layout: str
    precision: str
    protocol: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectOptions:
    """`tailor inspect`; latencies are measured where `place.engine` names an engine, and not where it is ""."""

    network: ModelOptions
    bounds: GraphOptions
    place: TargetOptions
    json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileOptions:
    """`tailor profile`."""

    network: ModelOptions
    bounds: GraphOptions
    place: TargetOptions
    networks: int
    plot: Path | None
    json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureOptions:
    """`tailor measure`."""

    network: ModelOptions
    place: TargetOptions
    versus: str | None
    instances: int | None
    json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneOptions:
    """`tailor prune`; None leaves a choice to the method, the recipe or the default."""

    network: ModelOptions
    bounds: GraphOptions
    place: TargetOptions
    budget: str
    data: str
    method: str
    importance: str | None
    latency: str | None
    fitness: str | None
    residual: str | None
    cycles: int | None
    population: int | None
    solver: str | None
    networks: int
    recipe: str
    epochs: int | None
    distill: bool | None
    out: Path | None
    resume: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """`tailor compare`: what every run shares, and the methods, budgets and number of seeds they differ in."""

    network: ModelOptions
    bounds: GraphOptions
    place: TargetOptions
    budget: tuple[str, ...]
    methods: str
    seeds: int
    data: str
    residual: str | None
    networks: int
    recipe: str
    finetune_epochs: int | None
    distill: bool | None
    out: Path

    def shared(self) -> PruneOptions:
        """One of the runs, as `tailor prune` would be asked for it."""
        return PruneOptions(
            network=self.network, bounds=self.bounds, place=self.place, budget=self.budget[0], data=self.data,
            method=self.methods.split(",")[0].strip(), importance=None, latency=None, fitness=None,
            residual=self.residual, cycles=None, population=None, solver=None, networks=self.networks,
            recipe=self.recipe, epochs=self.finetune_epochs, distill=self.distill, out=self.out, resume=False,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """`tailor demo`."""

    out: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """`tailor doctor`."""

    device: str
    threads: int
    json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodsOptions:
    """`tailor methods`."""

    json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WavesOptions:
    """`tailor analyze-waves`; `network.model` may be a trace file."""

    network: ModelOptions
    also: tuple[Path, ...]
    largest_batch: int
    json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """`tailor export`; `network.model` may be a run folder, `batch_size` None leaves the batch free."""

    network: ModelOptions
    formats: str
    out: Path | None
    batch_size: int | None
    json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """`tailor report`."""

    run: Path


def command(group: click.Group, name: str, record: type[Record]) -> Callable[[Callable[[Record], int]], click.Command]:
    """Make a function of one record a command: click fills the record, the function's answer is the exit code."""

    def decorate(function: Callable[[Record], int]) -> click.Command:
        @functools.wraps(function)
        def call(**values: object) -> int:
            return function(_filled(record, values))

        return group.command(name)(call)

    return decorate


def _filled(record: type[Record], values: Mapping[str, object]) -> Record:
    """The record with its fields, and those of the records inside it, taken from click's values by name."""
    kinds = get_type_hints(record)
    names = [each.name for each in fields(record)]  # type: ignore[arg-type]
    return record(**{n: _filled(kinds[n], values) if is_dataclass(kinds[n]) else values[n] for n in names})


class InputShape(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic only in newer clicks
    """Channels, height and width as `3x224x224`."""

    name = "CxHxW"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int, int]:
        """Read three positive integers."""
        parts = str(value).lower().split("x")
        if len(parts) != 3 or not all(part.isdecimal() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is no input size; give channels, height and width such as 3x224x224", param, ctx)
        channels, height, width = (int(part) for part in parts)
        return channels, height, width


def _chain(*decorators: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Several options as one decorator, listed in help in the order given."""

    def decorate(function: Function) -> Function:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


_ENGINES = "torch, torch-compile, cuda-graph, onnxruntime, onnxruntime-tensorrt, openvino or tensorrt"
_PRECISIONS = "fp32, tf32, bf16, fp16, int8 or auto (the engine's own default), as the engine can"
_COUNT = click.IntRange(min=1)
_PATH = click.Path(path_type=Path)

model_options = _chain(
    click.argument("model"),
    click.option("--weights", type=_PATH, help="Weights file: .safetensors, .pt or .pth."),
    click.option("--pretrained", is_flag=True, help="The publisher's weights (torchvision and timm names)."),
    click.option("--classes", type=_COUNT, help="Outputs of the classifier; by default the data's, or the network's."),
    click.option("--input", "input_shape", type=InputShape(), help="Input size; by default the network's own."),
)
_device_option = click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
_threads_option = click.option("--threads", type=int, default=1, show_default=True, help="CPU threads.")

_place_options = _chain(
    _device_option,
    click.option("--batch-size", type=int, help="Images per call; by default 1, or what the protocol prescribes."),
    _threads_option,
    click.option("--layout", default="contiguous", show_default=True, help="contiguous or channels_last."),
    click.option("--precision", default="fp32", show_default=True, help=f"Number format: {_PRECISIONS}."),
    click.option("--protocol", default="default", show_default=True, help="Timing: default, quick, precise or lacp."),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of every random choice."),
)
target_options = _chain(
    click.option("--engine", default="torch", show_default=True, help=f"Runtime it will run in: {_ENGINES}."),
    _place_options,
)
inspect_options = _chain(
    click.option("--engine", default="", metavar="ENGINE", help=f"Measure on it what each group takes: {_ENGINES}."),
    _place_options,
)
graph_options = _chain(
    click.option("--pin", multiple=True, metavar="NAME", help="Keep this module's channels (wildcards, repeatable)."),
    click.option("--min-width", type=_COUNT, default=1, show_default=True, help="No group becomes narrower."),
    click.option("--quantum", type=_COUNT, default=1, show_default=True, help="Cut widths are multiples of this."),
    click.option(
        "--form", default="auto", show_default=True,
        help="auto cuts the exported graph where the code holds channel counts; module never does.",
    ),
    click.option("--depth/--no-depth", default=None, help="Remove residual branches; by default as the method does."),
)  # fmt: skip
_networks_option = click.option(
    "--networks", type=_COUNT, default=160, show_default=True, help="Whole networks measured for the latency model."
)
profile_options = _chain(
    _networks_option,
    click.option("--plot", type=_PATH, help="Write the staircases as a figure (.svg, .png or .pdf)."),
)
_data_option = click.option(
    "--data",
    required=True,
    metavar="SPEC",
    help="digits, cifar10[:ROOT], cifar100[:ROOT], tiny-imagenet:ROOT, imagefolder:PATH or FILE.py:FUNCTION.",
)
_recipe_option = click.option(
    "--recipe", default="short", show_default=True, help="Fine-tuning: short, lacp or none."
)
_distill_option = click.option(
    "--distill/--no-distill", default=None, help="Dense network as teacher; by default the recipe's."
)
_residual_option = click.option("--residual", help="Residual streams: fixed or free; by default the method's.")
prune_options = _chain(
    click.option("--budget", required=True, help='A share of the dense latency ("60%") or a time ("5ms").'),
    _data_option,
    click.option("--method", default="lacp", show_default=True, help="How the widths are found: `tailor methods`."),
    click.option("--importance", help="Which channels stay: l1, l2, bn-taylor, sp-lamp ...; by default the method's."),
    click.option("--latency", help="predicted, or measured for every structure; by default the method's."),
    click.option("--fitness", help="recalibrated or short-training; by default the method's."),
    _residual_option,
    click.option("--cycles", type=_COUNT, help="Populations, or steps of a knapsack; by default the method's."),
    click.option("--population", type=_COUNT, help="Structures in each; by default the method's."),
    click.option("--solver", help="Of knapsacks: exact or heuristic (HALP's own); by default the method's."),
    _networks_option,
    _recipe_option,
    click.option("--epochs", type=_COUNT, help="Epochs of fine-tuning; by default the recipe's."),
    _distill_option,
    click.option("--out", type=_PATH, help="Run folder; by default runs/MODEL-BUDGET-ENGINE-bBATCH."),
    click.option("--resume", is_flag=True, help="Go on with the run of this folder."),
)
compare_options = _chain(
    click.option("--budget", required=True, multiple=True, help='"60%", "5ms" ...; several give curves (repeatable).'),
    _data_option,
    click.option("--methods", default="lacp,sp-lamp,uniform", show_default=True, help="Names with commas, or all."),
    click.option("--seeds", type=_COUNT, default=1, show_default=True, help="Runs of each method and budget."),
    _residual_option,
    _networks_option,
    _recipe_option,
    click.option("--finetune-epochs", type=_COUNT, help="Epochs of fine-tuning, for all; by default the recipe's."),
    _distill_option,
    click.option("--out", type=_PATH, required=True, help="Folder of the comparison; one that was stopped goes on."),
)
measure_options = _chain(
    click.option("--vs", "versus", metavar="MODEL_OR_RUN", help="Compare with this one, instance by instance."),
    click.option(
        "--instances", type=click.IntRange(min=2), help="Fresh copies of each network; by default 3 (lacp: 2)."
    ),
)
demo_options = click.option("--out", type=_PATH, default=Path("runs/demo"), show_default=True, help="Run folder.")
doctor_options = _chain(_device_option, _threads_option)
waves_options = _chain(
    click.option("--also", multiple=True, type=_PATH, metavar="TRACE", help="A further trace (repeatable)."),
    click.option("--largest-batch", type=_COUNT, default=64, show_default=True, help="MODEL runs at up to so many."),
)
export_options = _chain(
    click.option(
        "--to", "formats", default="onnx", show_default=True, metavar="FORMATS",
        help="onnx, openvino, torch-export, torchscript, several with commas, or all.",
    ),
    click.option("--out", type=_PATH, help="Folder; by default RUN/export, or exports/NAME."),
    click.option("--batch-size", type=_COUNT, help="The only batch size the files take; by default any."),
)  # fmt: skip
report_options = click.argument("run", type=_PATH)
json_option = click.option("--json", is_flag=True, help="Print JSON, for a program to read.")
