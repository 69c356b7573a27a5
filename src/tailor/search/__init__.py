"""How many channels: strategies propose structures, one loop tries them, a journal remembers."""

from tailor.search.evolution import Evolution, EvolutionConfig
from tailor.search.journal import Journal
from tailor.search.problem import Progress, SearchProblem, SearchResult, run_search
from tailor.search.random_search import RandomSearch, RandomSearchConfig
from tailor.search.space import SearchSpace

__all__ = [
    "Evolution",
    "EvolutionConfig",
    "Journal",
    "Progress",
    "RandomSearch",
    "RandomSearchConfig",
    "SearchProblem",
    "SearchResult",
    "SearchSpace",
    "run_search",
]
