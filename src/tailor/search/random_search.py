"""Random search: the control that any strategy has to beat at the same number of structures."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np

from tailor.errors import InvalidOptionError
from tailor.search.drawn import Drawn
from tailor.search.space import SearchSpace
from tailor.spec import Widths

__all__ = ["RandomSearch", "RandomSearchConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomSearchConfig:
    """How many structures are drawn, and how many at a time."""

    structures: int = 300
    batch: int = 30

    def __post_init__(self) -> None:
        for name in ("structures", "batch"):
            value = getattr(self, name)
            if value < 1:
                raise InvalidOptionError(f"{name} must be at least 1, not {value}", value=value)


class RandomSearch(Drawn):
    """Draws feasible structures without looking at any score; structures never repeat."""

    def __init__(self, space: SearchSpace, config: RandomSearchConfig, *, seed: int) -> None:
        super().__init__(space, structures=config.structures, batch=config.batch, seed=seed)
        self._config = config

    @property
    def description(self) -> str:
        """Name and options."""
        return f"random search, seed {self._seed}, {self._config}"

    def _draw(self, rng: np.random.Generator, seen: Set[Widths]) -> tuple[Widths, str] | None:
        return self._space.draw(rng, seen)
