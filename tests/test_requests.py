"""From options to the things they name."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from tailor import persist
from tailor.errors import RunFolderError, UnknownNameError
from tailor.models import load_model
from tailor.options import GraphOptions, ModelOptions, PruneOptions, TargetOptions
from tailor.records import Budget
from tailor.requests import has_weights, open_model, prune_request, run_name, several_engines, target_of, traced
from tailor.spec import Target


def network(
    model: str, *, weights: Path | None = None, input_shape: tuple[int, int, int] | None = None
) -> ModelOptions:
    return ModelOptions(model=model, weights=weights, pretrained=False, classes=None, input_shape=input_shape)


def place(*, protocol: str = "default", batch_size: int | None = None) -> TargetOptions:
    return TargetOptions(
        engine="torch", device="cpu", batch_size=batch_size, threads=1, layout="contiguous", precision="fp32",
        protocol=protocol, seed=0,
    )


def test_the_paper_s_protocol_brings_its_batch_size() -> None:
    assert target_of(place()).batch_size == 1
    assert target_of(place(protocol="lacp")).batch_size == 128
    assert target_of(place(protocol="lacp", batch_size=4)).batch_size == 4
    with pytest.raises(UnknownNameError):
        target_of(place(protocol="stopwatch"))


@pytest.mark.parametrize(("engine", "several"), [("torch", False), ("all", True), ("torch,openvino", True)])
def test_several_engines_are_all_or_names_with_commas(engine: str, several: bool) -> None:
    assert several_engines(replace(place(), engine=engine)) is several


def test_a_model_opens_with_an_example_of_its_own_size() -> None:
    model, example = open_model(network("tailor/resnet20-cifar"), "tailor/resnet20-cifar")
    assert example.shape == (1, 3, 32, 32)
    assert model(example).shape == (1, 10)
    _, larger = open_model(network("tailor/resnet20-cifar", input_shape=(3, 48, 40)), "tailor/resnet20-cifar")
    assert larger.shape == (1, 3, 48, 40)


def test_without_data_nothing_is_trained_and_the_network_says_its_input_and_classes() -> None:
    words = {each.name: None for each in fields(PruneOptions)} | {"networks": 160, "resume": False}
    bounds = GraphOptions(pin=(), min_width=1, quantum=1, form="auto", depth=None)
    own = {"network": replace(network("tailor/resnet20-cifar"), classes=7), "bounds": bounds, "place": place()}
    options = PruneOptions(**{**words, **own, "budget": "60%", "method": "uniform"})
    request = prune_request(options, "tailor prune")
    assert request.data is None
    assert (request.recipe.name, request.recipe.epochs, request.num_classes) == ("none", 0, 7)
    assert request.model(request.example_inputs).shape == (1, 7)
    assert prune_request(replace(options, data="digits"), "").recipe.name == "short"


def test_a_run_folder_opens_as_the_network_it_holds(run_folder: Path) -> None:
    saved = load_model("tailor/resnet20-cifar", seed=5)
    persist.save(saved, run_folder, name="tailor/resnet20-cifar", num_classes=10)
    model, example = open_model(network(str(run_folder)), str(run_folder))
    assert example.shape == (1, 3, 32, 32)
    assert torch.equal(model(example), saved(example))


def test_a_folder_that_holds_no_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no saved network"):
        open_model(network(str(tmp_path)), str(tmp_path))


def test_pins_reach_the_graph() -> None:
    bounds = GraphOptions(pin=("layer3.*",), min_width=4, quantum=4, form="auto", depth=None)
    graph, _, _ = traced(network("tailor/resnet20-cifar"), bounds)
    pinned = {group.name for group in graph.pinned}
    assert {"layer3.0.conv1", "layer3.1.conv1", "layer3.2.conv1"} <= pinned
    assert graph["layer1.0.conv1"].smallest == 4
    assert graph["layer1.0.conv1"].quantum == 4


def test_run_names_are_safe_file_names() -> None:
    target = Target(batch_size=128)
    assert run_name("tailor/vgg16-cifar@0.5", Budget.parse("75%"), target) == "vgg16-cifar@0.5-75pct-torch-b128"
    assert run_name("nets/mine.py:make", Budget.parse("5 ms"), target) == "mine.py-make-5ms-torch-b128"


def test_only_a_bare_name_has_random_weights() -> None:
    assert not has_weights(network("torchvision/resnet50"))
    assert has_weights(network("mine.py:make"))
    assert has_weights(network("torchvision/resnet50", weights=Path("w.safetensors")))
