"""click's values become frozen records, also records within records."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tailor.options import (
    GraphOptions,
    InspectOptions,
    ModelOptions,
    PruneOptions,
    TargetOptions,
    command,
    graph_options,
    inspect_options,
    json_option,
    model_options,
    prune_options,
    target_options,
)


def filled(record: type, decorators: list[object], words: list[str]) -> object:
    """What a command made of these words."""
    seen: list[object] = []

    def function(options: object) -> int:
        seen.append(options)
        return 0

    for decorator in decorators:
        function = decorator(function)  # type: ignore[operator]
    group = click.Group()
    command(group, "go", record)(function)
    result = CliRunner().invoke(group, ["go", *words])
    assert result.exit_code == 0, result.output
    return seen[0]


def test_records_within_records_are_filled_by_name() -> None:
    words = ["tailor/resnet20-cifar", "--input", "3x64x64", "--pin", "conv1", "--pin", "layer1.*", "--json"]
    options = filled(InspectOptions, [json_option, inspect_options, graph_options, model_options], words)
    assert options == InspectOptions(
        network=ModelOptions(
            model="tailor/resnet20-cifar", weights=None, pretrained=False, classes=None, input_shape=(3, 64, 64)
        ),
        bounds=GraphOptions(pin=("conv1", "layer1.*"), min_width=1, quantum=1, form="auto", depth=None),
        place=TargetOptions(
            engine="", device="cpu", batch_size=None, threads=1, layout="contiguous", precision="fp32",
            protocol="default", seed=0,
        ),
        json=True,
    )
    with pytest.raises(FrozenInstanceError):
        options.json = False  # type: ignore[attr-defined]


def test_what_is_not_given_is_left_to_method_recipe_and_protocol() -> None:
    words = ["m", "--budget", "60%", "--data", "digits"]
    options = filled(PruneOptions, [target_options, graph_options, prune_options, model_options], words)
    assert isinstance(options, PruneOptions)
    assert (options.latency, options.fitness, options.residual, options.cycles, options.distill) == (None,) * 5
    assert options.place.batch_size is None
    assert options.out is None
    words += ["--no-distill", "--out", "runs/x"]
    options = filled(PruneOptions, [target_options, graph_options, prune_options, model_options], words)
    assert isinstance(options, PruneOptions)
    assert options.distill is False
    assert options.out == Path("runs/x")


@pytest.mark.parametrize("text", ["3x5", "3x0x4", "axbxc", "3x-4x4", "1x2x3x4"])
def test_an_input_size_that_is_none_is_refused_with_an_example(text: str) -> None:
    group = click.Group()
    command(group, "go", ModelOptions)(model_options(lambda options: 0))
    result = CliRunner().invoke(group, ["go", "m", "--input", text])
    assert result.exit_code == 2
    assert "3x224x224" in result.output
