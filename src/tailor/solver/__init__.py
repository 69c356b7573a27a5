"""The most valuable widths within a latency: exactly, for every budget at once, where the network allows it."""

from tailor.solver.elimination import ParetoFront, TooWideError, solve_front
from tailor.solver.milp import solve_milp
from tailor.solver.problem import Solution, WidthProblem

__all__ = ["ParetoFront", "Solution", "TooWideError", "WidthProblem", "solve_front", "solve_milp"]
