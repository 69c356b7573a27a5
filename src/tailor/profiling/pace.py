"""How long whole networks take to measure: each is made ready once, then runs in every round."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FEWEST_ROUNDS", "MOST_ROUNDS", "USUAL_ROUNDS", "Pace"]

FEWEST_ROUNDS, USUAL_ROUNDS, MOST_ROUNDS = 4, 12, 36  # the usual are enough on a quiet machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds that one network takes: `prepare` until it is ready (with its account), `one_round` in each round."""

    prepare: float
    one_round: float

    @classmethod
    def seen(cls, *, spent: float, in_rounds: float | None, rounds: int, networks: int) -> Pace:
        """What a session of so many networks tells that took `spent` seconds, `in_rounds` of them in its rounds.

        Where these are not known, all of it counts as rounds.
        """
        in_rounds = spent if in_rounds is None else in_rounds
        return cls(
            prepare=max(0.0, spent - in_rounds) / networks,
            one_round=max(1e-9, in_rounds) / (rounds + 1) / networks,
        )

    def seconds(self, rounds: int) -> float:
        """What one network takes with so many rounds and the untimed one before them."""
        return self.prepare + (rounds + 1) * self.one_round

    def rounds(self, seconds: float) -> int:
        """The most rounds for which one network takes no longer than this, in bounds.

        Timing takes at least as long as making ready, up to the usual rounds: fewer would save nothing.
        """
        fewest = min(max(FEWEST_ROUNDS, int(self.prepare / self.one_round)), USUAL_ROUNDS)
        return min(max(int((seconds - self.prepare) / self.one_round) - 1, fewest), MOST_ROUNDS)
