"""A run without data: what can do without, and how structures are scored then."""

from __future__ import annotations

from dataclasses import replace

from tailor.errors import DataError
from tailor.importance import FROM_DATA, importance_named
from tailor.methods import METHODS, Method
from tailor.pipeline.request import PruneRequest

__all__ = ["KEPT", "suited"]

KEPT = "kept-importance"


def suited(method: Method, request: PruneRequest) -> Method:
    """The method as it is where there is data; without, structures are scored by the importance that they keep.

    Raises:
        DataError: the method, its importance, the fitness or the training that was asked for needs data.
    """
    if request.data is not None:
        return method
    recipe, name = request.recipe, method.name
    if recipe.epochs:
        raise _missing(f"recipe {recipe.name} trains {recipe.epochs} epochs", "the recipe none", recipe.name)
    if request.distill:
        raise _missing("a teacher is for training", "no --distill", request.distill)
    if method.gradual is not None:
        raise _missing(f"{name} prunes while the network trains", _others(), name)
    importance_named(method.importance, request.seed)  # refuses those that are observed on images
    if request.fitness not in (None, KEPT):
        raise _missing(f"fitness {request.fitness} scores structures on images", f"fitness {KEPT}", request.fitness)
    if method.fitness == "short-training":
        raise _missing(f"{name} trains every structure", f"{_others()}, or fitness {KEPT}", name)
    return replace(method, fitness=KEPT)


def _missing(what: str, way_out: str, value: object) -> DataError:
    return DataError(f"{what}, which needs data; give data, or take {way_out}", value=value)


def _others() -> str:
    """The methods that can do without."""
    able = [
        name
        for name, method in METHODS.items()
        if method.gradual is None and method.fitness != "short-training" and method.importance not in FROM_DATA
    ]
    return f"one of {', '.join(able)}"
