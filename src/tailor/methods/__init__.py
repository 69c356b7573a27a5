"""The named recipes: which importance, latency, fitness and strategy make up a published method."""

from tailor.methods.grids import candidate_widths, narrowest_widths
from tailor.methods.recipe import GradualConfig, Method, SearchConfig
from tailor.methods.registry import METHODS, method_named
from tailor.methods.strategies import Ground, resized, solved_by, strategy_of

__all__ = [
    "METHODS",
    "GradualConfig",
    "Ground",
    "Method",
    "SearchConfig",
    "candidate_widths",
    "method_named",
    "narrowest_widths",
    "resized",
    "solved_by",
    "strategy_of",
]
