"""The two long calls of the public face, `prune` and `profile`: plain arguments in, the pipeline's records out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tailor.channels import network_of, trace
from tailor.console import SilentReporter
from tailor.database import Database
from tailor.latency.profile import Profile
from tailor.pipeline import PruneRequest, PruneResult
from tailor.pipeline import prune as run_pipeline
from tailor.profiling import profile as profile_graph
from tailor.records import Budget
from tailor.spec import Target
from tailor.timing import settings_named
from tailor.training import Data, Recipe, load_data, recipe_named

__all__ = ["profile", "prune"]


def prune(
    model: nn.Module,
    example_inputs: Tensor | tuple[Any, ...],
    *,
    target: Target,
    budget: str | Budget,
    out: str | Path,
    data: str | Data | None = None,
    method: str = "lacp",
    recipe: str | Recipe | None = None,
) -> PruneResult:
    """Cut a trained network to a latency measured on the target, fine-tune it, and verify it in a fresh process.

    Everything else that can be asked (seed, resume, pins, residual streams, progress ...) is a field of
    `tailor.pipeline.PruneRequest`, which `tailor.pipeline.prune` takes.

    Args:
        model: the trained network; it is left as it was.
        example_inputs: one batch as the network is called, e.g. a tensor [1, 3, 32, 32].
        target: engine, device, batch size and threads it will run with.
        budget: a share of the dense latency ("60%") or a time ("5ms").
        out: the run folder; everything found on the way is stored there.
        data: a data set, or what `tailor.load_data` takes ("digits", "cifar10", "imagefolder:PATH" ...); None ranks
            structures by the importance that they keep and trains nothing, for networks that are no classifiers.
        method: how widths are searched.
        recipe: how the cut network is fine-tuned; by default "short", and "none" without data.

    Raises:
        TailorError: its children name what cannot be done, and the way out.
    """
    recipe = recipe if recipe is not None else "none" if data is None else "short"
    request = PruneRequest(
        model=model,
        example_inputs=example_inputs,
        target=target,
        budget=Budget.parse(budget) if isinstance(budget, str) else budget,
        data=load_data(data) if isinstance(data, str) else data,
        data_spec=data if isinstance(data, str) else "",
        recipe=recipe_named(recipe) if isinstance(recipe, str) else recipe,
        out=Path(out),
        method=method,
    )
    return run_pipeline(request, console=SilentReporter())


def profile(
    model: nn.Module,
    example_inputs: Tensor | tuple[Any, ...],
    target: Target,
    *,
    protocol: str = "default",
    networks: int = 160,
    seed: int = 0,
    database: str | Path | None = None,
) -> Profile:
    """Measure a network's staircases and fit the model of its latency; `result.latency.predict(widths)` answers.

    Raises:
        TailorError: the network cannot be traced or run on the target.
    """
    graph = trace(model, example_inputs)
    place = Database(None if database is None else Path(database))
    settings = settings_named(protocol, seed=seed)
    network = network_of(model, graph)
    return profile_graph(
        network, graph, example_inputs, target, database=place, settings=settings, networks=networks, seed=seed
    )
