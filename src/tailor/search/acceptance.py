"""Random structures just below the limit, as EagleEye draws them: accepted near the target, ranked by their scores."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np

from tailor.errors import InvalidOptionError
from tailor.search.drawn import Drawn
from tailor.search.space import SearchSpace
from tailor.spec import Widths

__all__ = ["Acceptance", "AcceptanceConfig"]

_DRAWS = 200  # vectors that may miss the window before one is moved into it


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceConfig:
    """How many structures, and the share of the limit below it that counts as near.

    EagleEye accepts +-0.5 % of its FLOPs target; a latency limit is a hard one, so the window lies below it.
    """

    structures: int = 300
    batch: int = 30
    window: float = 0.02

    def __post_init__(self) -> None:
        for name in ("structures", "batch"):
            value = getattr(self, name)
            if value < 1:
                raise InvalidOptionError(f"{name} must be at least 1, not {value}", value=value)
        if not 0 < self.window < 1:
            raise InvalidOptionError(f"window must be between 0 and 1, not {self.window}", value=self.window)


class Acceptance(Drawn):
    """Every group draws its own keep ratio; structures never repeat and no score is looked at.

    A vector within the window is "accepted". When none of 200 is, one is narrowed and widened step by step in random
    groups until no group can be widened ("fitted"): such structures exist in any space (Li et al. 2020, "EagleEye").
    """

    def __init__(self, space: SearchSpace, config: AcceptanceConfig, *, seed: int) -> None:
        super().__init__(space, structures=config.structures, batch=config.batch, seed=seed)
        self._config = config

    @property
    def description(self) -> str:
        """Name and options."""
        return f"random with acceptance, seed {self._seed}, {self._config}"

    def _draw(self, rng: np.random.Generator, seen: Set[Widths]) -> tuple[Widths, str] | None:
        low = (1 - self._config.window) * self._space.limit_ns
        for _ in range(_DRAWS):
            widths = self._vector(rng)
            if widths not in seen and self._space.feasible(widths) and self._space.latency_ns(widths) >= low:
                return widths, "accepted"
        drawn = self._space.draw(rng, seen)
        if drawn is None:
            return None
        filled = self._space.filled(drawn[0], rng)
        return (filled, "fitted") if filled not in seen else drawn

    def _vector(self, rng: np.random.Generator) -> Widths:
        """A keep ratio per group, uniform between the narrowest candidate and the dense width."""
        chosen = {}
        for group, steps in self._space.candidates.items():
            ratio = rng.uniform(steps[0] / steps[-1], 1.0)
            chosen[group] = min(steps, key=lambda width: abs(width - ratio * steps[-1]))
        return Widths(chosen)
