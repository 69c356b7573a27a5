"""Global ranking: narrow the group that loses the least value for what it saves, until the limit is kept."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tailor.errors import InvalidOptionError
from tailor.search.ladder import check_ladder, rungs
from tailor.search.once import Once
from tailor.search.space import SearchSpace
from tailor.spec import Widths

__all__ = ["PRICES", "Greedy", "GreedyConfig"]

PRICES = ("units", "macs")
_NOTHING = 1e-12  # a step that saves no more than this is taken for its loss alone


@dataclass(frozen=True, slots=True, kw_only=True)
class GreedyConfig:
    """What a step should save: as many units, or as many multiply-accumulates, for the value it loses.

    A unit is what is removed together: one channel of every layer that a group couples. Its score says what all of them
    are worth, so it counts once (Molchanov et al. 2019 sum the gates that a skip connection ties, and rank the sums).
    The way down is followed to the limit and to limits that are each tighter by `step`: `structures` in all.
    """

    price: str = "units"
    structures: int = 8
    step: float = 0.01

    def __post_init__(self) -> None:
        check_ladder(self.structures, self.step)
        if self.price not in PRICES:
            raise InvalidOptionError(f"price must be one of {', '.join(PRICES)}, not {self.price!r}", value=self.price)


class Greedy(Once):
    """Proposes what single steps between candidates reach from the dense structure, at the limit and slightly below.

    `values` maps each group to the value of each of its candidates, in order; `price` is what a step should save:
    multiply-accumulates, units, or anything else that the widths say (the configuration names it) and that a step
    saves no more of once others are narrower. Wider candidates are worth no less.
    """

    _origin = "greedy"

    def __init__(
        self,
        space: SearchSpace,
        values: Mapping[str, tuple[float, ...]],
        price: Callable[[Widths], float],
        config: GreedyConfig,
    ) -> None:
        for group, steps in space.candidates.items():
            if len(values.get(group, ())) != len(steps):
                message = f"group {group!r} has {len(steps)} candidates and {len(values.get(group, ()))} values"
                raise InvalidOptionError(message, value=group)
        super().__init__()
        self._space = space
        self._values = values
        self._price = price
        self._config = config

    @property
    def description(self) -> str:
        """Name and options."""
        return f"greedy, {self._config}"

    def _found(self) -> Iterator[Widths]:
        places = {group: len(steps) - 1 for group, steps in self._space.candidates.items()}
        widths = self._at(places)
        ranks = enumerate(group for group in self._space.free if places[group])
        waiting = [(self._loss(group, places, widths), rank, group) for rank, group in ranks]
        heapq.heapify(waiting)
        for limit_ns in rungs(self._space.limit_ns, self._config.structures, self._config.step):
            while waiting and self._space.latency_ns(widths) > limit_ns:
                rank, group = self._cheapest(waiting, places, widths)
                places[group] -= 1
                widths = self._at(places)
                if places[group]:
                    heapq.heappush(waiting, (self._loss(group, places, widths), rank, group))
            yield widths

    def _cheapest(
        self, waiting: list[tuple[float, int, str]], places: Mapping[str, int], widths: Widths
    ) -> tuple[int, str]:
        """Take out the group whose next step loses the least value per unit saved, of equals the first.

        A loss that was noted earlier is at most the present one, since a step saves less the narrower the others have
        become: only those at the top have to be worked out anew.
        """
        while True:
            _, rank, group = heapq.heappop(waiting)
            now = self._loss(group, places, widths)
            if not waiting or (now, rank) <= waiting[0][:2]:
                return rank, group
            heapq.heappush(waiting, (now, rank, group))

    def _loss(self, group: str, places: Mapping[str, int], widths: Widths) -> float:
        """Value that the group's next step loses per unit that it saves."""
        steps, place = self._space.candidates[group], places[group]
        lost = self._values[group][place] - self._values[group][place - 1]
        saved = self._price(widths) - self._price(widths.but({group: steps[place - 1]}))
        return lost / max(saved, _NOTHING)

    def _at(self, places: Mapping[str, int]) -> Widths:
        return Widths({group: steps[places[group]] for group, steps in self._space.candidates.items()})
