"""The first stage: everything that can be checked is checked, the model is traced, and the run folder opened last."""

from __future__ import annotations

import importlib.metadata
from dataclasses import fields, replace
from typing import Any

from tailor.calling import as_inputs
from tailor.channels import network_of, trace
from tailor.console import Reporter
from tailor.engines import open_device
from tailor.errors import InvalidOptionError, NothingToPruneError
from tailor.importance import Calibration, TaylorAccumulator, importance_named
from tailor.importance.selection import rank
from tailor.methods import Method, method_named, resized, solved_by
from tailor.pipeline.request import Line, PruneRequest
from tailor.pipeline.without_data import KEPT, suited
from tailor.protocols import Importance
from tailor.records import RunConfig
from tailor.report.graph import graph_summary
from tailor.run_folder import RunFolder
from tailor.spec import ChannelGraph
from tailor.timing import settings_named
from tailor.training import Recipe, training_device

__all__ = ["begin"]

DISTILLATION_WEIGHT = 0.9  # the teacher's part of the loss where distillation is asked of a recipe without it


def begin(request: PruneRequest, console: Reporter) -> Line:
    """Check everything that can be checked, trace, and open the run folder last."""
    request = replace(request, recipe=_recipe(request))
    method = suited(_method(request), request)
    if request.distill and not request.recipe.epochs and method.gradual is None:
        raise InvalidOptionError(
            "--distill asks for a teacher, but the recipe none trains no epoch; take the recipe short or lacp, or "
            "leave --distill out",
            value=request.recipe.name,
        )
    settings = settings_named(request.protocol, seed=request.seed)
    environment = open_device(request.target).environment()
    if request.data is None:
        console.say(
            "no data: structures are ranked by the share of importance that they keep (fitness "
            f"{KEPT}), nothing is trained, and accuracy stays unknown"
        )
    if method.latency == "measured":
        console.say("every structure is timed whole: the search takes longer than with predicted latencies")
    graph = _traced(request, method, console)
    folder = RunFolder.open(request.out, _config(request, method), resume=request.resume)
    folder.store("environment", environment)
    folder.store("graph", graph_summary(graph))
    if graph.program is not None:
        console.say("its code holds channel counts: the exported graph is cut, trained and saved in its place")
        request = replace(request, model=network_of(request.model, graph))
    importance = _importance(request, graph, method)
    if method.importance == "bn-taylor":
        _tell_fallback(request, graph, console)
    ranking = rank(request.model, graph, importance)
    return Line(
        request=request,
        console=console,
        method=method,
        settings=settings,
        graph=graph,
        ranking=ranking,
        folder=folder,
        importance=importance,
        source=request.model,
    )


def _traced(request: PruneRequest, method: Method, console: Reporter) -> ChannelGraph:
    """The channel graph; a network of which nothing can be cut is refused.

    Raises:
        NothingToPruneError: naming the reasons, or the bounds that leave every group whole.
    """
    console.stage(f"trace {_model_name(request)}")
    graph = trace(
        request.model,
        request.example_inputs,
        pin=request.pin,
        min_width=request.min_width,
        quantum=request.quantum,
        form=request.form,
        depth=method.depth,
    )
    if not graph.prunable:
        reasons = sorted({group.pinned or "" for group in graph.pinned})
        found = "; ".join(reasons) if reasons else "it has no convolution or linear layer that can be followed"
        raise NothingToPruneError(f"nothing in this model can be pruned: {found}", value=len(graph.groups))
    if not graph.removable and all(group.smallest == group.width for group in graph.prunable):
        widest = max(group.width for group in graph.prunable)
        raise NothingToPruneError(
            f"a min_width of {request.min_width} and a quantum of {request.quantum} leave every group its dense width "
            f"(the widest has {widest}); ask for less",
            value=request.min_width,
        )
    dense_macs = graph.macs(graph.dense_widths)
    if method.depth:
        console.say(f"{len(graph.removable)} of {len(graph.branches)} residual branches can be removed as a whole")
    console.say(f"{len(graph.prunable)} of {len(graph.groups)} channel groups can be cut, {dense_macs / 1e9:.3f} GMACs")
    return graph


def _importance(request: PruneRequest, graph: ChannelGraph, method: Method) -> Importance:
    """The method's importance; those from data are observed on the first training images."""
    data, device = request.data, training_device()
    if data is None:
        return importance_named(method.importance, request.seed)
    calibration = Calibration(
        model=request.model,
        graph=graph,
        batches=lambda: data.batches("train", 64, limit=method.recalibration_images, device=device),
        device=device,
    )
    return importance_named(method.importance, request.seed, calibration)


def _tell_fallback(request: PruneRequest, graph: ChannelGraph, console: Reporter) -> None:
    """Say which groups have no BatchNorm to read a saliency off."""
    without = TaylorAccumulator(request.model, graph, "bn-taylor").without_norm
    if without:
        console.warn(
            f"{len(without)} of {len(graph.prunable)} groups have a producer without BatchNorm ({without[0]} ...): "
            "there weight-taylor takes the place of bn-taylor"
        )


def _method(request: PruneRequest) -> Method:
    """The method with the request's own choices."""
    method = method_named(request.method) if isinstance(request.method, str) else request.method
    asked = {
        "importance": request.importance,
        "latency": request.latency_mode,
        "fitness": request.fitness,
        "residual": request.residual,
        "depth": request.depth,
    }
    choices: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    search = resized(method.search, cycles=request.cycles, population=request.population)
    if request.solver is not None:
        search = solved_by(search, request.solver)
    return replace(method, **choices, search=search)


def _recipe(request: PruneRequest) -> Recipe:
    """The recipe with the dense network as teacher, or without, as asked."""
    recipe = request.recipe
    if request.distill is None or request.distill == bool(recipe.distillation_weight):
        return recipe
    return replace(recipe, distillation_weight=DISTILLATION_WEIGHT if request.distill else 0.0)


def _config(request: PruneRequest, method: Method) -> RunConfig:
    chosen = {"networks": str(request.networks), "pin": ", ".join(request.pin)}
    if request.form != "auto":
        chosen["form"] = request.form
    recipe = {each.name: str(getattr(request.recipe, each.name)) for each in fields(request.recipe)}
    data = request.data
    return RunConfig(
        model=_model_name(request),
        weights=request.weights,
        data=None if data is None else request.data_spec or data.name,
        target=request.target,
        budget=request.budget,
        method=method.name,
        method_options={**method.options, **chosen},
        recipe=request.recipe.name,
        recipe_options=recipe,
        protocol=request.protocol,
        seed=request.seed,
        input_shape=as_inputs(request.example_inputs).shape if data is None else tuple(data.input_shape),
        command=request.command,
        tailor_version=importlib.metadata.version("tailor-prune"),
    )


def _model_name(request: PruneRequest) -> str:
    return request.model_spec or type(request.model).__qualname__
