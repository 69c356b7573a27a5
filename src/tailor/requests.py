"""From command-line options to what they name: models, example inputs, targets, traced graphs, prune requests."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tailor.channels import network_of, trace
from tailor.models import input_shape, load_model
from tailor.options import CompareOptions, GraphOptions, ModelOptions, PruneOptions, TargetOptions
from tailor.records import Budget, RunConfig
from tailor.serialize import read_record
from tailor.spec import ChannelGraph, Target
from tailor.timing import PROTOCOL_BATCH, settings_named

if TYPE_CHECKING:
    from tailor.comparison import CompareRequest
    from tailor.pipeline import PruneRequest
    from tailor.profiling.gpu_trace import GpuTrace

__all__ = [
    "compare_request",
    "export_folder",
    "has_weights",
    "network_trace",
    "open_model",
    "prune_request",
    "run_name",
    "several_engines",
    "target_of",
    "traced",
]


def target_of(place: TargetOptions) -> Target:
    """The target; a batch size that was not given is the protocol's, else 1.

    Raises:
        InvalidOptionError: a batch size or thread count below 1.
        UnknownNameError: no such protocol.
    """
    settings_named(place.protocol)
    return Target(
        engine=place.engine,
        device=place.device,
        batch_size=PROTOCOL_BATCH.get(place.protocol, 1) if place.batch_size is None else place.batch_size,
        threads=place.threads,
        precision=place.precision,
        layout=place.layout,
    )


def several_engines(place: TargetOptions) -> bool:
    """Whether more than one engine is meant: "all", or names with commas."""
    return place.engine == "all" or "," in place.engine


def open_model(network: ModelOptions, name: str) -> tuple[nn.Module, Tensor]:
    """A network by name, or the pruned one of a run folder, and one random example [1, channels, height, width].

    Raises:
        TailorError: the name, the weights, the input size or the run folder is not what it should be.
    """
    if Path(name).is_dir():
        from tailor.persist import load

        model = load(Path(name))
        shape = read_record(Path(name) / "config.json", RunConfig).input_shape
        return model, _example(network.input_shape or shape[-3:])
    model = load_model(name, num_classes=network.classes, weights=network.weights, pretrained=network.pretrained)
    return model, _example(network.input_shape or input_shape(name, model))


def _example(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))


def traced(network: ModelOptions, bounds: GraphOptions) -> tuple[ChannelGraph, nn.Module, Tensor]:
    """The network's graph under the pins and bounds asked for, the network in the form that the graph belongs to, and
    the example it was traced with.

    Raises:
        TailorError: as `open_model` and `tailor.trace` do.
    """
    model, example = open_model(network, network.model)
    graph = trace(
        model, example, pin=bounds.pin, min_width=bounds.min_width, quantum=bounds.quantum, form=bounds.form,
        depth=bool(bounds.depth),
    )
    return graph, network_of(model, graph), example


def compare_request(options: CompareOptions, command: str) -> CompareRequest:
    """Everything `tailor compare` asks for, checked and loaded; nothing has been written when this raises.

    Raises:
        TailorError: naming the option that cannot be met.
    """
    from tailor.comparison import CompareRequest
    from tailor.methods import METHODS, method_named

    names = list(METHODS) if options.methods == "all" else [name.strip() for name in options.methods.split(",")]
    for name in names:
        method_named(name)
    shared = replace(options.shared(), method=names[0])
    return CompareRequest(
        shared=prune_request(shared, command),
        methods=names,
        budgets=[Budget.parse(text) for text in options.budget],
        seeds=range(options.place.seed, options.place.seed + options.seeds),
    )


def prune_request(options: PruneOptions, command: str) -> PruneRequest:
    """Everything `tailor prune` asks for, checked and loaded; nothing has been written when this raises.

    Raises:
        TailorError: naming the option that cannot be met.
    """
    from tailor.methods import method_named
    from tailor.pipeline import PruneRequest
    from tailor.training import load_data, recipe_named

    network, place, bounds = options.network, options.place, options.bounds
    budget, target = Budget.parse(options.budget), target_of(place)
    method_named(options.method)
    named = options.recipe or ("short" if options.data else "none")
    recipe = recipe_named(named, epochs=options.epochs, seed=place.seed)
    data = None if options.data is None else load_data(options.data, seed=place.seed, image_size=_image_size(network))
    classes = network.classes if data is None or ":" in network.model or network.classes else data.num_classes
    model = load_model(
        network.model, num_classes=classes, weights=network.weights, pretrained=network.pretrained, seed=place.seed
    )
    return PruneRequest(
        model=model,
        model_spec=network.model,
        weights=None if network.weights is None else str(network.weights),
        num_classes=classes,
        example_inputs=_example(data.input_shape if data else network.input_shape or input_shape(network.model, model)),
        target=target,
        budget=budget,
        data=data,
        data_spec=options.data or "",
        method=options.method,
        importance=options.importance,
        latency_mode=options.latency,
        fitness=options.fitness,
        residual=options.residual,
        cycles=options.cycles,
        population=options.population,
        solver=options.solver,
        recipe=recipe,
        distill=options.distill,
        networks=options.networks,
        pin=bounds.pin,
        min_width=bounds.min_width,
        quantum=bounds.quantum,
        form=bounds.form,
        depth=bounds.depth,
        protocol=place.protocol,
        seed=place.seed,
        out=options.out or Path("runs") / run_name(network.model, budget, target),
        resume=options.resume,
        command=command,
    )


def network_trace(network: ModelOptions, largest_batch: int) -> GpuTrace:
    """The kernels of a network on the CUDA device here, at eight batch sizes up to the largest.

    Raises:
        TailorError: the network cannot be opened, or there is no CUDA device.
    """
    from tailor.profiling.gpu_trace import trace_batches

    model, example = open_model(network, network.model)
    batches = sorted({max(1, largest_batch * eighths // 8) for eighths in range(1, 9)})
    return trace_batches(model, example, batches)


def has_weights(network: ModelOptions) -> bool:
    """Whether the network was trained, as far as its options tell: a Python file's function brings its own weights."""
    return network.weights is not None or network.pretrained or ":" in network.model


def export_folder(name: str) -> Path:
    """Where exports go by default: into the run folder, or into exports/ under the model's short name."""
    if Path(name).is_dir():
        return Path(name) / "export"
    return Path("exports") / re.sub(r"[^\w.@-]+", "-", name.rsplit("/", 1)[-1])


def _image_size(network: ModelOptions) -> int | None:
    """The side that images are scaled to: as asked, as an ImageNet network was made for, or as the data has them."""
    if network.input_shape is not None:
        return network.input_shape[1]
    if network.model.startswith(("torchvision/", "timm/")):
        return input_shape(network.model, load_model(network.model))[1]
    return None


def run_name(model: str, budget: Budget, target: Target) -> str:
    """The default run folder's name: "resnet56-cifar10-75pct-torch-b1"."""
    short = model.rsplit("/", 1)[-1]
    text = f"{short}-{budget.text.replace('%', 'pct')}-{target.engine}-b{target.batch_size}"
    return re.sub(r"[^\w.@-]+", "-", text)
