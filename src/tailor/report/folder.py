"""A run folder as records: what is there is read and checked, what is not there yet is listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tailor.errors import RunFolderError, SchemaError
from tailor.latency.profile import Profile
from tailor.records import (
    Anchor,
    Environment,
    GraphSummary,
    Reductions,
    RunConfig,
    SearchSummary,
    Stages,
    TrainingResult,
    Trial,
    Verdict,
    WidthsRecord,
)
from tailor.serialize import decode, read_record

__all__ = ["RunRecords", "read_run"]

T = TypeVar("T")

_JOURNAL = "trials.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecords:
    """Everything a run wrote about itself; None (or no trials) where a stage was not reached, named in `missing`.

    `anchor` is None also where no search needed one.
    """

    config: RunConfig | None
    environment: Environment | None
    graph: GraphSummary | None
    profile: Profile | None
    anchor: Anchor | None
    search: SearchSummary | None
    trials: tuple[Trial, ...]
    widths: WidthsRecord | None
    training: TrainingResult | None
    stages: Stages | None
    reductions: Reductions | None
    verdict: Verdict | None
    missing: tuple[str, ...]


def read_run(folder: Path) -> RunRecords:
    """Read what a run folder holds.

    Raises:
        RunFolderError: the folder does not exist, or holds nothing that a run writes.
        SchemaError: a file is damaged or of another version.
    """
    if not folder.is_dir():
        raise RunFolderError(f"{folder} is no folder; give the --out folder of a run", value=str(folder))
    kinds: Mapping[str, type] = {
        "config": RunConfig,
        "environment": Environment,
        "graph": GraphSummary,
        "profile": Profile,
        "search": SearchSummary,
        "widths": WidthsRecord,
        "training": TrainingResult,
        "stages": Stages,
        "reductions": Reductions,
        "verdict": Verdict,
    }
    files = [f"{stem}.json" for stem in kinds] + [_JOURNAL]
    missing = tuple(name for name in files if not (folder / name).exists())
    if len(missing) == len(files):
        raise RunFolderError(f"{folder} holds no run: neither config.json nor anything else of one", value=str(folder))
    found = {stem: _record(folder / f"{stem}.json", kind) for stem, kind in kinds.items()}
    config, stages = found["config"], found["stages"]
    unwanted: tuple[str, ...] = ()
    if isinstance(config, RunConfig) and config.data is None:  # nothing is trained or evaluated
        unwanted = ("stages.json", "training.json")
    elif isinstance(stages, Stages) and stages.fine_tuned is None:  # the recipe trains nothing
        unwanted = ("training.json",)
    missing = tuple(name for name in missing if name not in unwanted)
    return RunRecords(
        **found, anchor=_record(folder / "anchor.json", Anchor), trials=_trials(folder / _JOURNAL), missing=missing
    )


def _record(path: Path, kind: type[T]) -> T | None:
    return read_record(path, kind) if path.exists() else None


def _trials(path: Path) -> tuple[Trial, ...]:
    """Trials of a journal: its first line is a header, and a last line without its newline was never finished."""
    if not path.exists():
        return ()
    *lines, _torn = path.read_bytes().split(b"\n")
    try:
        return tuple(decode(line, Trial) for line in lines[1:])
    except SchemaError as error:
        raise SchemaError(f"{path} is damaged: {error}", value=str(path)) from None
