"""The resolved options of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tailor.records.budget import Budget
from tailor.spec import Target

__all__ = ["RunConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Every resolved option of a run: what a resumed run must agree with, and what the report prints.

    `model` is the model's name or its class when it was given as an object; `command` is what was typed, or "" when
    the run was started from Python. `method` holds the recipe's own options as text.
    """

    model: str
    weights: str | None
    data: str | None
    target: Target
    budget: Budget
    method: str
    method_options: Mapping[str, str]
    recipe: str
    recipe_options: Mapping[str, str]
    protocol: str
    seed: int
    input_shape: tuple[int, ...]
    command: str
    tailor_version: str
