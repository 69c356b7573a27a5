"""Measurements in SQLite, keyed by environment and subject: measured once, found again, safe with many writers."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import platformdirs

from tailor.errors import DatabaseError, SchemaError
from tailor.records import Environment, Measurement
from tailor.serialize import decode, encode

T = TypeVar("T")

__all__ = ["DATABASE_VERSION", "Database", "default_path"]

DATABASE_VERSION = 3
_APPLICATION_ID = 0x7A11_0210  # tells a database of ours from any other SQLite file
_HEADER_BYTES = 100  # of every SQLite file (sqlite.org/fileformat2.html): page size and pages stand in it
_BUSY_SECONDS = 60.0
_LOOKUP_CHUNK = 500  # SQLite allows 999 parameters in one statement
_SCHEMA = """
CREATE TABLE environments (key TEXT PRIMARY KEY, facts TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE subjects (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE);
CREATE TABLE measurements (
    id INTEGER PRIMARY KEY,
    environment TEXT NOT NULL REFERENCES environments(key),
    subject INTEGER NOT NULL REFERENCES subjects(id),
    session TEXT NOT NULL,
    samples INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    record BLOB NOT NULL
);
CREATE INDEX measurements_by_subject ON measurements (environment, subject);
CREATE INDEX measurements_by_session ON measurements (session);
"""
_ACCOUNTS = """
CREATE TABLE accounts (
    environment TEXT NOT NULL REFERENCES environments(key),
    subject TEXT NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (environment, subject)
) WITHOUT ROWID
"""  # since version 2
_MEMBERS = """
CREATE TABLE members (
    family TEXT NOT NULL,
    subject TEXT NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (family, subject)
) WITHOUT ROWID
"""  # since version 3
_ADDED = {2: _ACCOUNTS, 3: _MEMBERS}  # what each version added to the one before


def default_path() -> Path:
    """Where measurements are kept: the file named by TAILOR_DATABASE, else the user's cache folder."""
    named = os.environ.get("TAILOR_DATABASE")
    return Path(named) if named else Path(platformdirs.user_cache_dir("tailor")) / "measurements.sqlite"


class Database:
    """A file of measurements that several processes may read and append to at once."""

    def __init__(self, path: Path | None = None) -> None:
        """Open or create the database (the default path when none is given).

        Raises:
            DatabaseError: the file is no measurement database, is damaged, or was written by another version. The
                file is left as it is.
        """
        self.path = path or default_path()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseError(f"cannot create the folder of {self.path}: {error}", value=str(self.path)) from None
        self._open(str(self.path))

    @classmethod
    def memory(cls) -> Database:
        """A database that lives as long as this object."""
        database = cls.__new__(cls)
        database.path = Path(":memory:")
        database._open(":memory:")
        return database

    def _open(self, name: str) -> None:
        _check_whole(Path(name))
        with self._translated():
            self._connection = sqlite3.connect(name, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            with self._translated():
                self._create_or_check()
        except DatabaseError:
            self._connection.close()
            raise

    def _create_or_check(self) -> None:
        connection = self._connection
        with self._transaction():  # the write lock makes one of many starting processes create the tables
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if tables == 0:
                for statement in (*_SCHEMA.split(";"), *_ADDED.values()):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {DATABASE_VERSION}")
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
            raise DatabaseError(
                f"{self.path} is a database of another program; name another file in TAILOR_DATABASE",
                value=str(self.path),
            )
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if 0 < version < DATABASE_VERSION:
            version = self._brought_up_to_date()
        if version != DATABASE_VERSION:
            raise DatabaseError(
                f"{self.path} has version {version}, this Tailor reads {DATABASE_VERSION}; "
                "name another file in TAILOR_DATABASE",
                value=version,
            )
        self._write_ahead()

    def _brought_up_to_date(self) -> int:
        """Add what later versions have; nothing that was measured is touched."""
        with self._transaction():  # somebody else may have been faster
            version: int = self._connection.execute("PRAGMA user_version").fetchone()[0]
            for later in range(version + 1, DATABASE_VERSION + 1):
                self._connection.execute(_ADDED[later])
            version = max(version, DATABASE_VERSION)
            self._connection.execute(f"PRAGMA user_version = {version}")
        return version

    def _write_ahead(self) -> None:
        """Switch to write-ahead logging; another process that opens the file at this moment may hold it briefly."""
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                break
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA foreign_keys = ON")

    def add(self, environment: Environment, measurements: Sequence[Measurement]) -> None:
        """Append measurements made in this environment, all or none.

        Raises:
            DatabaseError: a measurement names another environment, or the file cannot be written.
        """
        for measurement in measurements:
            if measurement.environment != environment.key:
                raise DatabaseError(
                    f"measurement of {measurement.subject!r} belongs to environment {measurement.environment}, "
                    f"not {environment.key}",
                    value=measurement.environment,
                )
        with self._translated(), self._transaction():
            execute = self._connection.execute
            execute("INSERT OR IGNORE INTO environments VALUES (?, ?)", (environment.key, encode(environment)))
            for one in measurements:
                execute("INSERT OR IGNORE INTO subjects (key) VALUES (?)", (one.subject,))
                execute(
                    "INSERT INTO measurements (environment, subject, session, samples, failed, record) "
                    "SELECT ?, id, ?, ?, ?, ? FROM subjects WHERE key = ?",
                    (environment.key, one.session, len(one.samples_ns), one.failure is not None, encode(one),
                     one.subject),
                )

    def find(self, environment_key: str, subject_keys: Sequence[str]) -> dict[str, Measurement]:
        """The measurement with most samples (of equals the latest) of each subject; failures are not answers."""
        return {subject: known[-1] for subject, known in self.find_all(environment_key, subject_keys).items()}

    def find_all(self, environment_key: str, subject_keys: Sequence[str]) -> dict[str, list[Measurement]]:
        """Every measurement of each subject that succeeded, those with most samples last, of equals the latest."""
        found: dict[str, list[Measurement]] = {}
        for start in range(0, len(subject_keys), _LOOKUP_CHUNK):
            chunk = list(subject_keys[start : start + _LOOKUP_CHUNK])
            rows = self._select(
                "SELECT record FROM measurements JOIN subjects ON subjects.id = measurements.subject "
                f"WHERE environment = ? AND failed = 0 AND key IN ({','.join('?' * len(chunk))}) "
                "ORDER BY samples, measurements.id",
                [environment_key, *chunk],
            )
            for measurement in rows:
                found.setdefault(measurement.subject, []).append(measurement)
        return found

    def add_accounts(self, environment: Environment, accounts: Mapping[str, object]) -> None:
        """Keep what an engine accounted for, one record per subject key; the latest counts.

        Raises:
            DatabaseError: the file cannot be written.
        """
        rows = [(environment.key, subject, encode(account)) for subject, account in accounts.items()]
        with self._translated(), self._transaction():
            execute = self._connection.execute
            execute("INSERT OR IGNORE INTO environments VALUES (?, ?)", (environment.key, encode(environment)))
            self._connection.executemany("INSERT OR REPLACE INTO accounts VALUES (?, ?, ?)", rows)

    def find_accounts(self, environment_key: str, subject_keys: Sequence[str], kind: type[T]) -> dict[str, T]:
        """The accounts of these subjects, as records of the kind that was added."""
        found: dict[str, T] = {}
        for start in range(0, len(subject_keys), _LOOKUP_CHUNK):
            chunk = list(subject_keys[start : start + _LOOKUP_CHUNK])
            with self._translated():
                rows = self._connection.execute(
                    f"SELECT subject, record FROM accounts WHERE environment = ? AND subject IN "
                    f"({','.join('?' * len(chunk))})",
                    [environment_key, *chunk],
                ).fetchall()
                found |= {subject: decode(record, kind) for subject, record in rows}
        return found

    def add_members(self, family: str, members: Mapping[str, object]) -> None:
        """Keep what tells the subjects of a family apart, one record per subject key; the latest counts.

        Raises:
            DatabaseError: the file cannot be written.
        """
        rows = [(family, subject, encode(member)) for subject, member in members.items()]
        with self._translated(), self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO members VALUES (?, ?, ?)", rows)

    def members(self, family: str, kind: type[T]) -> dict[str, T]:
        """Every subject of a family that was kept, in the order of their keys, as records of the kind that was added.

        They were timed in some environment or other, or failed.
        """
        with self._translated():
            rows = self._connection.execute(
                "SELECT subject, record FROM members WHERE family = ? ORDER BY subject", [family]
            ).fetchall()
            return {subject: decode(record, kind) for subject, record in rows}

    def of_session(self, session: str) -> dict[str, Measurement]:
        """Everything that succeeded in one timing session, by subject: what its numbers can be compared with."""
        rows = self._select("SELECT record FROM measurements WHERE session = ? AND failed = 0 ORDER BY id", [session])
        return {measurement.subject: measurement for measurement in rows}

    def environments(self) -> tuple[Environment, ...]:
        """Every environment that something was measured in."""
        with self._translated():
            rows = self._connection.execute("SELECT facts FROM environments ORDER BY key").fetchall()
            return tuple(decode(row[0], Environment) for row in rows)

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    def _select(self, statement: str, values: Sequence[str]) -> list[Measurement]:
        with self._translated():
            return [decode(row[0], Measurement) for row in self._connection.execute(statement, values).fetchall()]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Hold the write lock; commit when the block ends, roll back when it raises."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:  # a full disk has already rolled it back
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what SQLite says into one line that names the file and the way out."""
        try:
            yield
        except (sqlite3.Error, SchemaError) as error:
            raise DatabaseError(
                f"measurement database {self.path} cannot be used ({error}); "
                "move it away, or name another file in TAILOR_DATABASE",
                value=str(self.path),
            ) from None


def _check_whole(path: Path) -> None:
    """Refuse a file that is shorter than it says: SQLite itself may answer from what is left of it.

    With a write-ahead log beside it the file may rightly be short; SQLite puts the two together.
    """
    log = path.with_name(path.name + "-wal")
    if not path.is_file() or (log.exists() and log.stat().st_size):
        return
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header.startswith(b"SQLite format 3\0"):
        return  # empty, or not SQLite: opening it says so
    page = int.from_bytes(header[16:18], "big")
    whole = (65536 if page == 1 else page) * int.from_bytes(header[28:32], "big")
    if path.stat().st_size < whole:
        raise DatabaseError(
            f"measurement database {path} is cut off: {path.stat().st_size} of {whole} bytes are there; "
            "move it away, or name another file in TAILOR_DATABASE",
            value=str(path),
        )
