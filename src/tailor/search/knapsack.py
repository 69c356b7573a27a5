"""The group knapsack of HALP and SP-LAMP: layers priced by their outputs, prices taken anew at every step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tailor.errors import BudgetUnreachableError, InvalidOptionError
from tailor.latency.factors import Factors
from tailor.latency.frozen import SIDES, FrozenModel, frozen_factors
from tailor.search.filling import filled
from tailor.search.ladder import check_ladder, rungs
from tailor.search.once import Once
from tailor.search.space import SearchSpace
from tailor.solver import WidthProblem, solve_front
from tailor.solver.heuristic import ordered_knapsack
from tailor.spec import Widths

__all__ = ["SOLVERS", "Knapsack", "KnapsackConfig", "knapsack_step", "narrowed"]

SOLVERS = ("exact", "heuristic")
_BINS = 20_000  # of the heuristic's table over the capacity


@dataclass(frozen=True, slots=True, kw_only=True)
class KnapsackConfig:
    """How the limit is approached, and by which solver.

    `steps` limits fall geometrically from the dense latency, prices are re-calibrated to the widths of the step before
    (HALP: 30; one step overshoots, since narrower inputs make everything cheaper than its frozen price). `structures`
    further answers at limits that are each tighter by `step`, so that one of them keeps the budget as measured.
    `side` says which channels of a layer its group's price follows (HALP: outputs; SMCP: inputs). `fill` widens every
    answer by what frozen prices left unused: ours, since they overshoot by as much as they please.
    """

    steps: int = 30
    solver: str = "exact"
    structures: int = 8
    step: float = 0.01
    side: str = "outputs"
    fill: bool = True

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InvalidOptionError(f"steps must be at least 1, not {self.steps}", value=self.steps)
        check_ladder(self.structures, self.step)
        if self.solver not in SOLVERS:
            message = f"solver must be one of {', '.join(SOLVERS)}, not {self.solver!r}"
            raise InvalidOptionError(message, value=self.solver)
        if self.side not in SIDES:
            raise InvalidOptionError(f"side must be one of {', '.join(SIDES)}, not {self.side!r}", value=self.side)


class Knapsack(Once):
    """Proposes what the knapsack takes at the limit, and at slightly tighter ones.

    `values` maps each group to the value of each of its candidates, in order.
    """

    _origin = "knapsack"

    def __init__(
        self, space: SearchSpace, values: Mapping[str, tuple[float, ...]], model: FrozenModel, config: KnapsackConfig
    ) -> None:
        super().__init__()
        self._space = space
        self._values = values
        self._model = model
        self._config = config

    @property
    def description(self) -> str:
        """Name and options."""
        return f"knapsack, {self._config}"

    def _found(self) -> Iterator[Widths]:
        for limit in rungs(self._space.limit_ns, self._config.structures, self._config.step):
            widths = self._descended(limit)
            yield self._filled(widths, limit) if self._config.fill else widths

    def _filled(self, widths: Widths, limit_ns: float) -> Widths:
        prices = frozen_factors(self._model, self._space.candidates, widths, side=self._config.side)
        return filled(self._space, self._values, prices, widths, limit_ns)

    def _descended(self, limit_ns: float) -> Widths:
        """From the dense network down to the limit; widths never grow again."""
        space, steps = self._space, self._config.steps
        widths = Widths({group: own[-1] for group, own in space.candidates.items()})
        dense_ns = space.latency_ns(widths)
        for step in range(1, steps + 1):
            target = dense_ns ** (1 - step / steps) * limit_ns ** (step / steps)
            widths = self._step(widths, target)
        while space.latency_ns(widths) > limit_ns:  # what a last step's frozen prices were off
            narrower = self._step(widths, limit_ns)
            if narrower == widths:
                return space.narrowest
            widths = narrower
        return widths

    def _step(self, widths: Widths, target_ns: float) -> Widths:
        return narrowed(self._space.candidates, self._values, self._model, widths, target_ns, self._config)


def narrowed(
    candidates: Mapping[str, tuple[int, ...]],
    values: Mapping[str, Sequence[float]],
    model: FrozenModel,
    widths: Widths,
    target_ns: float,
    config: KnapsackConfig,
) -> Widths:
    """One step down from `widths` to a latency: the knapsack over prices as they are there; no group grows.

    `values` has one value per candidate up to the present width at least. The narrowest candidates where even they
    are over the target.
    """
    left = {group: tuple(width for width in own if width <= widths[group]) for group, own in candidates.items()}
    worth = {group: tuple(values[group][: len(own)]) for group, own in left.items()}
    factors = frozen_factors(model, left, widths, side=config.side)
    try:
        return knapsack_step(left, worth, factors, round(target_ns), solver=config.solver)
    except BudgetUnreachableError:
        return Widths({group: own[0] for group, own in left.items()})


def knapsack_step(
    candidates: Mapping[str, tuple[int, ...]],
    values: Mapping[str, tuple[float, ...]],
    factors: Factors,
    limit_ns: int,
    *,
    solver: str,
) -> Widths:
    """The most valuable widths by prices of one group each.

    Raises:
        BudgetUnreachableError: naming the smallest latency that can be reached.
    """
    problem = WidthProblem(candidates=candidates, values=values, factors=factors)
    if solver == "exact":
        return solve_front(problem).best(limit_ns).widths
    return _by_heuristic(problem, limit_ns)


def _by_heuristic(problem: WidthProblem, limit_ns: int) -> Widths:
    """HALP's own knapsack; the narrowest candidate of every group is kept whatever it costs, as its code means to."""
    narrowest = {group: own[0] for group, own in problem.candidates.items()}
    prices = {term.groups[0]: term.ns for term in problem.factors.terms}
    room = limit_ns - problem.latency_ns(narrowest)
    if room < 0:
        raise BudgetUnreachableError(
            f"no choice of widths reaches {limit_ns / 1e6:.3f} ms; the narrowest takes "
            f"{problem.latency_ns(narrowest) / 1e6:.3f} ms",
            value=problem.latency_ns(narrowest),
        )
    bin_ns = max(1, room // _BINS)
    groups = [group for group in problem.free if group in prices]
    values = [_rises(problem.values[group]) for group in groups]
    costs = [_costs(prices[group], problem.candidates[group], bin_ns) for group in groups]
    counts = dict(zip(groups, ordered_knapsack(values, costs, room // bin_ns), strict=True))
    free = {group: own[-1] for group, own in problem.candidates.items() if group not in counts}  # costs nothing
    return Widths({**narrowest, **free, **{g: problem.candidates[g][count] for g, count in counts.items()}})


def _rises(values: Sequence[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(values)]


def _costs(prices: Mapping[tuple[int, ...], int], widths: Sequence[int], bin_ns: int) -> list[int]:
    """What each further candidate costs, in bins, rounded up so that their sum keeps the limit."""
    return [
        -((prices[(before,)] - prices[(after,)]) // bin_ns) for before, after in itertools.pairwise(widths)
    ]
