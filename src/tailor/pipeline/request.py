"""What a run is asked, what it hands over, and what its stages share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from tailor.console import Reporter
from tailor.importance.selection import Ranking
from tailor.latency.profile import Profile
from tailor.methods import Method
from tailor.protocols import Importance
from tailor.records import Budget, Reductions, Stages, TimingSettings, Verdict
from tailor.run_folder import RunFolder
from tailor.spec import ChannelGraph, KeepPlan, Target, Widths
from tailor.training import Data, Recipe

__all__ = ["Line", "PruneRequest", "PruneResult"]

SCREENING_SECONDS = 15.0  # of a session of timing to choose among structures


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PruneRequest:
    """Everything a run is asked to do; None leaves a choice to the method.

    `model_spec` is a name for `tailor.models.load_model`, "" when the model was given as an object. `data_spec` and
    `command` are only recorded. `method` is a name, or a recipe of the caller's own. `profile` was measured before, in
    this environment, and is not measured again. `distill` None leaves the teacher to the recipe. `form` "module" never
    cuts the exported graph (see `tailor.trace`). Without `data` nothing is scored on images, recalibrated, trained or
    evaluated: structures are ranked by the importance that they keep, and the recipe must train nothing.
    `num_classes` is what the model's name was loaded with, None for the data's.
    """

    model: nn.Module
    example_inputs: Any
    target: Target
    budget: Budget
    recipe: Recipe
    out: Path
    data: Data | None = None
    model_spec: str = ""
    num_classes: int | None = None
    weights: str | None = None
    data_spec: str = ""
    method: str | Method = "lacp"
    importance: str | None = None
    latency_mode: str | None = None
    fitness: str | None = None
    residual: str | None = None
    depth: bool | None = None
    cycles: int | None = None
    population: int | None = None
    solver: str | None = None
    distill: bool | None = None
    networks: int = 160
    pin: Sequence[str] = ()
    min_width: int = 1
    quantum: int = 1
    form: str = "auto"
    protocol: str = "default"
    seed: int = 0
    resume: bool = False
    command: str = ""
    database: Path | None = None
    profile: Profile | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PruneResult:
    """What a run hands over; `report` is the HTML page in the run folder `out`; `stages` is None without data."""

    verdict: Verdict
    model: nn.Module
    widths: Widths
    keep: KeepPlan
    stages: Stages | None
    reductions: Reductions
    out: Path
    report: Path


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Line:
    """What every stage of one run shares; `source` is the dense network whose weights the cut one inherits.

    `host_noise` is the profile's: what the host's state adds to the ratios of a session.
    """

    request: PruneRequest
    console: Reporter
    method: Method
    settings: TimingSettings
    graph: ChannelGraph
    ranking: Ranking
    folder: RunFolder
    importance: Importance
    source: nn.Module
    host_noise: float = 0.0

    @property
    def screening(self) -> TimingSettings:
        """Shorter sessions to choose structures by, which verification measures again; a prescribed protocol stays."""
        if self.settings.fixed_warmup is not None:
            return self.settings
        return replace(self.settings, max_seconds=min(self.settings.max_seconds, SCREENING_SECONDS))
