"""Small random problems whose every choice can be listed, with the cost shapes that networks have."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping

from tailor.latency.factors import Factor, Factors
from tailor.solver import WidthProblem

Cost = Callable[[float, float], float]

SHAPES = ("chain", "residual", "concat", "apart")
COSTS: Mapping[str, Cost] = {
    "linear": lambda a, b: 1000 * a * b,
    "staircase": lambda a, b: 900 * -(-a // 3) * -(-b // 2),
    "launch cost": lambda a, b: 5000 + 700 * a * b if a and b else 0,
    "non-monotone": lambda a, b: 800 * a * b + (3000 if a % 2 else 0) - (1500 if b == 3 else 0),
    "negative": lambda a, b: 400 * a * b - 3000,
}


def planted(shape: str, cost: str, seed: int) -> WidthProblem:
    """Four to six groups of two to four widths, some of them 0, with pairs as the shape says."""
    draw = random.Random(f"{shape} {cost} {seed}")
    groups = [f"g{index}" for index in range(draw.randint(4, 6))]
    candidates = {group: _widths(draw) for group in groups}
    pairs = {
        "chain": list(itertools.pairwise(groups)),
        "residual": [(groups[0], group) for group in groups[1:]] + [(group, groups[0]) for group in groups[2:3]],
        "concat": list(itertools.combinations(groups[:4], 2)) + list(itertools.pairwise(groups[3:])),
        "apart": [(groups[0], groups[1])],
    }[shape]
    scales = {pair: draw.uniform(0.5, 2.0) for pair in pairs}
    terms = [
        Factor(
            groups=pair,
            ns={
                (a, b): round(scales[pair] * COSTS[cost](a, b))
                for a in candidates[pair[0]] for b in candidates[pair[1]]
            },
        )
        for pair in dict.fromkeys(pairs)
    ]
    terms += [Factor(groups=(groups[-1],), ns={(a,): round(COSTS[cost](a, 3)) for a in candidates[groups[-1]]})]
    values = {group: tuple(_values(draw, len(widths))) for group, widths in candidates.items()}
    factors = Factors(constant_ns=draw.choice((0, 12_345)), terms=tuple(terms), approximation=0.0)
    return WidthProblem(candidates=candidates, values=values, factors=factors)


def _widths(draw: random.Random) -> tuple[int, ...]:
    return tuple(sorted(draw.sample(range(8), draw.randint(1, 4))))


def _values(draw: random.Random, count: int) -> list[float]:
    """Mostly rising with the width, as saliencies do, and of any sign."""
    start = draw.uniform(-2, 1)
    return [start := start + draw.choice((draw.random(), draw.random(), -0.2)) for _ in range(count)]


def listed(problem: WidthProblem) -> list[tuple[int, float]]:
    """(latency, value) of every choice that no other beats, by listing them all."""
    groups = list(problem.candidates)
    every = [dict(zip(groups, row, strict=True)) for row in itertools.product(*problem.candidates.values())]
    points = sorted((problem.latency_ns(widths), -problem.value(widths)) for widths in every)
    front: list[tuple[int, float]] = []
    for latency, negated in points:
        if not front or -negated > front[-1][1] + 1e-9:
            front.append((latency, -negated))
    return front
