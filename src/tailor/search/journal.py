"""Every trial on disk the moment it is known: an append-only file that a stopped search is replayed from."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from tailor.errors import RunFolderError, SchemaError
from tailor.records import Trial
from tailor.serialize import SCHEMA, decode, encode
from tailor.spec import Widths

__all__ = ["Journal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalHeader:
    """First line of a journal: the schema, and which search the trials belong to."""

    schema: int
    search: str


class Journal:
    """One JSON line per trial, flushed to the disk before the search goes on.

    `notice` says, after `replay`, that a half-written last line was dropped; None when nothing was.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notice: str | None = None

    def replay(self, search: str) -> tuple[Trial, ...]:
        """Trials recorded for this search, in order; a journal that does not exist yet is begun.

        Raises:
            RunFolderError: the file belongs to another search or is damaged before its last line.
        """
        header = JournalHeader(schema=SCHEMA, search=search)
        lines, torn = self._whole_lines()
        if not lines:
            self._begin(header, torn)
            return ()
        self._check(lines[0], header)
        trials = tuple(self._trial(number, line) for number, line in enumerate(lines[1:]))
        if torn:
            self._drop_tail(sum(len(line) + 1 for line in lines), len(torn), len(trials))
        return trials

    def append(self, trial: Trial) -> None:
        """Add one trial and wait until the disk has it: a kill right after loses nothing."""
        with self.path.open("ab") as file:
            file.write(encode(trial) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _whole_lines(self) -> tuple[list[bytes], bytes]:
        """Lines that end with a newline, and what follows the last newline."""
        if not self.path.exists():
            return [], b""
        *lines, torn = self.path.read_bytes().split(b"\n")
        return lines, torn

    def _begin(self, header: JournalHeader, torn: bytes) -> None:
        """Write the first line; a search killed while doing so may have left part of it, anything else is refused."""
        if not encode(header).startswith(torn):
            raise RunFolderError(f"{self.path} is no search journal; use a new folder", value=str(self.path))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("wb") as file:
            file.write(encode(header) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _check(self, line: bytes, expected: JournalHeader) -> None:
        try:
            header = decode(line, JournalHeader)
        except SchemaError as error:
            raise RunFolderError(f"{self.path} is no search journal: {error}", value=str(self.path)) from None
        if header.schema != expected.schema:
            message = f"{self.path} has schema {header.schema}, this Tailor reads {expected.schema}"
            raise RunFolderError(message, value=header.schema)
        if header.search != expected.search:
            message = f"{self.path} belongs to another search; resume with the same options or use a new folder"
            raise RunFolderError(message, value=header.search)

    def _trial(self, number: int, line: bytes) -> Trial:
        try:
            trial = decode(line, Trial)
        except SchemaError as error:
            message = f"{self.path} is damaged at line {number + 2}: {error}; use a new folder"
            raise RunFolderError(message, value=str(self.path)) from None
        if trial.number != number:
            message = f"{self.path} is damaged at line {number + 2}: trial {trial.number} where {number} belongs"
            raise RunFolderError(message, value=trial.number)
        return replace(trial, widths=Widths(trial.widths))

    def _drop_tail(self, keep: int, dropped: int, trials: int) -> None:
        """Cut the file behind its last whole line, or the next trial would be glued to the torn one."""
        with self.path.open("r+b") as file:
            file.truncate(keep)
            file.flush()
            os.fsync(file.fileno())
        self.notice = f"{self.path}: dropped a half-written last line of {dropped} bytes; {trials} trials kept"
