"""What every part of a search works on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tailor.finalists import CandidateTimer
from tailor.latency.profile import Profile
from tailor.pipeline.request import Line

__all__ = ["SearchTask"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SearchTask:
    """Among which widths to search, and how fast the network must be.

    `candidates` are the widths of each group, `limit_ns` is what the network may take beside the profile's dense one:
    the budget, less the margin (see `aim`). `timer` times whole candidates.
    """

    line: Line
    profiled: Profile
    timer: CandidateTimer
    candidates: Mapping[str, tuple[int, ...]]
    limit_ns: int

    @property
    def share(self) -> float:
        """The limit as a share of the dense latency."""
        return self.limit_ns / self.profiled.dense_ns
