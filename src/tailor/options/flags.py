"""What may be typed: the arguments and options of every command, each with its help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

__all__ = [
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

Function = TypeVar("Function", bound=Callable[..., object])


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
_DATA = "digits, cifar10[:ROOT], cifar100[:ROOT], tiny-imagenet:ROOT, imagefolder:PATH or FILE.py:FUNCTION"
_recipe_option = click.option(
    "--recipe", help="Fine-tuning: short, lacp or none; by default short, and none without data."
)
_distill_option = click.option(
    "--distill/--no-distill", default=None, help="Dense network as teacher; by default the recipe's."
)
_residual_option = click.option("--residual", help="Residual streams: fixed or free; by default the method's.")
prune_options = _chain(
    click.option("--budget", required=True, help='A share of the dense latency ("60%") or a time ("5ms").'),
    click.option("--data", metavar="SPEC", help=f"{_DATA}; without data nothing is trained or evaluated."),
    click.option("--method", default="lacp", show_default=True, help="How the widths are found: `tailor methods`."),
    click.option("--importance", help="Which channels stay: l1, l2, bn-taylor, sp-lamp ...; by default the method's."),
    click.option("--latency", help="predicted, or measured for every structure; by default the method's."),
    click.option("--fitness", help="recalibrated, short-training or kept-importance; by default the method's."),
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
    click.option("--data", required=True, metavar="SPEC", help=f"{_DATA}."),
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
