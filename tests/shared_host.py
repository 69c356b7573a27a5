"""A host that other machines share: its state slows whatever runs, and lasts for a few calls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tailor.records import Measurement

__all__ = ["on_a_shared_host"]

_LASTS, _SLOWS, _NOISE = 10.0, 0.2, 0.01  # calls, and standard deviations in logs of the state and of each call


def on_a_shared_host(session: Sequence[Measurement], *, seed: int, places: bool = True) -> list[Measurement]:
    """The measurements as they would have been there, all their rounds in shuffled order; told with places or not."""
    draw = np.random.default_rng(seed)
    rounds = len(session[0].samples_ns)
    slower, found = np.empty((len(session), rounds)), np.empty((len(session), rounds), dtype=int)
    keep, state = math.exp(-1 / _LASTS), 0.0
    for number in range(rounds):
        for place, subject in enumerate(draw.permutation(len(session))):
            state = keep * state + math.sqrt(1 - keep**2) * draw.standard_normal()
            slower[subject, number] = math.exp(_SLOWS * state + _NOISE * draw.standard_normal())
            found[subject, number] = place
    return [
        replace(
            each,
            samples_ns=tuple(round(ns * factor) for ns, factor in zip(each.samples_ns, own, strict=True)),
            places=tuple(map(int, order)) if places else (),
        )
        for each, own, order in zip(session, slower, found, strict=True)
    ]
