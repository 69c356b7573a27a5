"""The run folder: opened once, every file written whole, and resumed only by the run that began it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from tailor.errors import RunFolderError
from tailor.records import RunConfig
from tailor.serialize import read_record, write_record

__all__ = ["RunFolder"]

T = TypeVar("T")


class RunFolder:
    """One run's files. `stored` answers what an earlier, stopped process of the same run already knows."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def open(cls, path: Path, config: RunConfig, *, resume: bool) -> RunFolder:
        """Begin a run, or go on with the one that has the same configuration.

        Raises:
            RunFolderError: the folder is occupied and `resume` was not asked for, or the stopped run had other
                options (the first one that differs is named).
        """
        if path.exists() and not path.is_dir():
            raise RunFolderError(f"{path} is a file; give a folder with --out", value=str(path))
        occupied = path.is_dir() and any(path.iterdir())
        if occupied and not resume:
            message = f"{path} already holds files; continue that run with --resume or give another --out"
            raise RunFolderError(message, value=str(path))
        if occupied and (path / "config.json").exists():
            _agree(path, read_record(path / "config.json", RunConfig), config)
        else:
            if occupied:
                raise RunFolderError(f"{path} holds no run to resume; give another --out", value=str(path))
            write_record(path / "config.json", config)
        return cls(path)

    def stored(self, name: str, kind: type[T]) -> T | None:
        """The record of a finished stage, None when that stage was not finished."""
        file = self.path / f"{name}.json"
        return read_record(file, kind) if file.exists() else None

    def store(self, name: str, record: object) -> None:
        """Write a finished stage's record."""
        write_record(self.path / f"{name}.json", record)


def _agree(path: Path, stored: RunConfig, config: RunConfig) -> None:
    for field in fields(RunConfig):
        if field.name in ("command", "tailor_version"):
            continue
        before, now = getattr(stored, field.name), getattr(config, field.name)
        if before != now:
            message = f"{path} was begun with {field.name} {before}, not {now}; give another --out"
            raise RunFolderError(message, value=field.name)
