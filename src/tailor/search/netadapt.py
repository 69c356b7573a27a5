"""NetAdapt: tighten the limit a little, let every group alone meet it, keep the proposal that hurts least, repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tailor.errors import InvalidOptionError
from tailor.protocols import Proposal
from tailor.records import Trial
from tailor.search.ladder import check_ladder, rungs
from tailor.search.space import SearchSpace
from tailor.spec import Widths

__all__ = ["NetAdapt", "NetAdaptConfig"]

_HALVINGS = 12  # of a step that is too large: finer than a candidate of any group


@dataclass(frozen=True, slots=True, kw_only=True)
class NetAdaptConfig:
    """The first reduction as a share of the dense latency, and the factor that each further one shrinks by.

    The defaults are those of NetAdapt's code. `least` stops the reductions from shrinking to nothing. Once the limit is
    kept, `structures` - 1 further limits follow, each tighter by `step`: one answer keeps the budget as measured.
    """

    reduction: float = 0.025
    decay: float = 0.96
    least: float = 0.002
    structures: int = 3
    step: float = 0.015

    def __post_init__(self) -> None:
        check_ladder(self.structures, self.step)
        for name in ("reduction", "decay", "least"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise InvalidOptionError(f"{name} must be above 0 and at most 1, not {value}", value=value)


class NetAdapt:
    """One proposal per group and iteration, each scored; the best becomes the network of the next iteration.

    (Yang et al. 2018, "NetAdapt".) A step that fewer than two groups can reach alone is halved until two can, since one
    proposal is no choice; where there is no such step either, every group proposes its next narrower candidate, and
    the limit stays. Weights are inherited from the dense network every time, while the
    original goes on training the winner. Proposals on the way are over the final limit and are scored nevertheless.
    """

    def __init__(self, space: SearchSpace, config: NetAdaptConfig) -> None:
        self._space = space
        self._config = config
        self._now = Widths({group: steps[-1] for group, steps in space.candidates.items()})
        self._dense_ns = space.latency_ns(self._now)
        self._limits = rungs(space.limit_ns, config.structures, config.step)
        self._target: float = self._dense_ns
        self._iteration = 0
        self._told = 0
        self._tighten()

    @property
    def planned(self) -> int:
        """What was tried, and about as many more as the reductions that are left ask for."""
        if self._finished:
            return self._told
        target, iterations = self._target, 1
        step = max(float(self._space.latency_ns(self._now)) - target, self._config.least * self._dense_ns)
        while target > self._limits[-1]:
            target = max(target - step, self._next_limit(target))
            step = max(step * self._config.decay, self._config.least * self._dense_ns)
            iterations += 1
        return self._told + iterations * len(self._space.free)

    @property
    def description(self) -> str:
        """Name and options."""
        return f"netadapt, {self._config}"

    def ask(self) -> tuple[Proposal, ...]:
        """One structure per group that can still be narrowed; empty once the tightest limit is kept."""
        if self._finished:
            return ()
        reaching = [found for group in self._space.free if (found := self._reaching(group)) is not None]
        proposals = reaching or [found for group in self._space.free if (found := self._narrower(group)) is not None]
        return tuple(
            Proposal(widths=widths, origin=f"narrow {group}", cycle=self._iteration, beyond=True)
            for group, widths in proposals
        )

    def tell(self, trials: Sequence[Trial]) -> None:
        """The best proposal becomes the network; the limit is tightened once it is reached."""
        self._told += len(trials)
        self._iteration += 1
        scored = [trial for trial in trials if trial.score is not None]
        if not scored:
            return
        best = max(scored, key=lambda trial: (trial.score or 0.0, -trial.latency.ns, -trial.number))
        self._now = Widths(best.widths)
        if self._space.latency_ns(self._now) <= self._target:
            self._tighten()

    @property
    def _finished(self) -> bool:
        kept = self._space.latency_ns(self._now) <= self._limits[-1]
        return kept or all(self._narrower(group) is None for group in self._space.free)

    def _tighten(self) -> None:
        reached = min(self._target, float(self._space.latency_ns(self._now)))
        self._target = max(reached - self._step(self._iteration), self._next_limit(reached))
        for _ in range(_HALVINGS):
            if self._finished or sum(self._reaching(group) is not None for group in self._space.free) > 1:
                return
            self._target = (self._target + reached) / 2

    def _next_limit(self, latency_ns: float) -> float:
        """The first limit that this latency does not keep, else the tightest."""
        return next((limit for limit in self._limits if limit < latency_ns), self._limits[-1])

    def _step(self, iteration: int) -> float:
        share = self._config.reduction * self._config.decay**iteration
        return max(share, self._config.least) * self._dense_ns

    def _reaching(self, group: str) -> tuple[str, Widths] | None:
        """The group's widest candidate at which the network reaches the iteration's limit."""
        for width in reversed(self._space.candidates[group]):
            if width < self._now[group]:
                widths = self._now.but({group: width})
                if self._space.latency_ns(widths) <= self._target:
                    return group, widths
        return None

    def _narrower(self, group: str) -> tuple[str, Widths] | None:
        steps = self._space.candidates[group]
        place = steps.index(self._now[group])
        return (group, self._now.but({group: steps[place - 1]})) if place else None
