"""A traced network as reports and `inspect` show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tailor.records.timing import Interval
from tailor.spec import Target

__all__ = ["BranchSummary", "GraphSummary", "GroupLatencies", "GroupSummary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSummary:
    """One channel group as the report shows it; `members` are all modules that it runs through.

    `share` is its layers' part of the dense MACs (0 to 1), `parameter_share` the part of the parameters that would
    leave with all of its channels.
    """

    name: str
    width: int
    channels_per_unit: int
    quantum: int
    min_width: int
    pinned: str | None
    residual: bool
    producers: tuple[str, ...]
    share: float
    members: tuple[str, ...] = ()
    parameter_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLatencies:
    """What a network takes on a target and where: the dense latency (ns), the narrowest over it, by group.

    `narrowest` is that of the fastest of several networks that are as narrow as may be, or nearly. `shares` are each
    group's layers' part of the engine's own account (0 to 1), None where the engine does not tell.
    """

    target: Target
    dense: Interval
    narrowest: Interval
    shares: Mapping[str, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchSummary:
    """One residual branch as `tailor inspect --depth` shows it; `share` is its layers' part of the dense MACs."""

    name: str
    groups: tuple[str, ...]
    pinned: str | None
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSummary:
    """The traced network as stored in a run folder.

    `form` is "module", or "exported graph" where that is cut; `latency` and `branches` are there when asked for.
    """

    fingerprint: str
    groups: tuple[GroupSummary, ...]
    layers: int
    macs: int
    parameters: int
    channels: int
    form: str = "module"
    latency: GroupLatencies | None = None
    branches: tuple[BranchSummary, ...] = ()
