"""How many channels: strategies propose structures, one loop tries them, a journal remembers."""

from tailor.search.acceptance import Acceptance, AcceptanceConfig
from tailor.search.bayesian import Bayesian, BayesianConfig
from tailor.search.bee_colony import BeeColony, BeeColonyConfig
from tailor.search.earlier import EarlierFirst
from tailor.search.evolution import Evolution, EvolutionConfig
from tailor.search.greedy import Greedy, GreedyConfig
from tailor.search.journal import Journal
from tailor.search.knapsack import Knapsack, KnapsackConfig
from tailor.search.netadapt import NetAdapt, NetAdaptConfig
from tailor.search.once import Once
from tailor.search.optimum import Optimum, OptimumConfig
from tailor.search.problem import Progress, SearchProblem, SearchResult, run_search, try_more
from tailor.search.random_search import RandomSearch, RandomSearchConfig
from tailor.search.space import SearchSpace
from tailor.search.step_chooser import StepChooser
from tailor.search.uniform import Uniform, UniformConfig

__all__ = [
    "Acceptance",
    "AcceptanceConfig",
    "Bayesian",
    "BayesianConfig",
    "BeeColony",
    "BeeColonyConfig",
    "EarlierFirst",
    "Evolution",
    "EvolutionConfig",
    "Greedy",
    "GreedyConfig",
    "Journal",
    "Knapsack",
    "KnapsackConfig",
    "NetAdapt",
    "NetAdaptConfig",
    "Once",
    "Optimum",
    "OptimumConfig",
    "Progress",
    "RandomSearch",
    "RandomSearchConfig",
    "SearchProblem",
    "SearchResult",
    "SearchSpace",
    "StepChooser",
    "Uniform",
    "UniformConfig",
    "run_search",
    "try_more",
]
