"""The database gives back what was stored, keeps environments apart, survives many writers, and loses nothing."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tailor.database import DATABASE_VERSION, Database, default_path
from tailor.errors import DatabaseError
from tailor.latency.accounts import LayerAccount, NetworkAccount
from tailor.records import Environment, Measurement
from tailor.serialize import encode
from tailor.spec import Widths

VERSION_1 = """
CREATE TABLE environments (key TEXT PRIMARY KEY, facts TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE subjects (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE);
CREATE TABLE measurements (
    id INTEGER PRIMARY KEY, environment TEXT NOT NULL REFERENCES environments(key),
    subject INTEGER NOT NULL REFERENCES subjects(id), session TEXT NOT NULL, samples INTEGER NOT NULL,
    failed INTEGER NOT NULL, record BLOB NOT NULL
);
CREATE INDEX measurements_by_subject ON measurements (environment, subject);
CREATE INDEX measurements_by_session ON measurements (session);
PRAGMA application_id = 2047934992;
PRAGMA user_version = 1;
"""  # what the first version wrote
ADDED_BY_2 = """
CREATE TABLE accounts (
    environment TEXT NOT NULL REFERENCES environments(key), subject TEXT NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (environment, subject)
) WITHOUT ROWID;
PRAGMA user_version = 2;
"""
HERE = Environment(facts={"cpu": "x", "threads": "1"})
THERE = Environment(facts={"cpu": "x", "threads": "2"})


def made(subject: str, *samples: int, session: str = "s", environment: Environment = HERE) -> Measurement:
    return Measurement(
        subject=subject, environment=environment.key, session=session, samples_ns=samples, stopped="precise"
    )


def test_what_is_stored_is_found_again_also_by_another_reader(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "m.sqlite"
    one, two = made("a", 1, 2, 3), made("b", 4, 5)
    Database(path).add(HERE, [one, two])
    assert Database(path).find(HERE.key, ["a", "b", "c"]) == {"a": one, "b": two}
    assert Database(path).environments() == (HERE,)


def test_environments_never_mix() -> None:
    database = Database.memory()
    database.add(HERE, [made("a", 1, 2, 3)])
    assert database.find(THERE.key, ["a"]) == {}
    with pytest.raises(DatabaseError, match="belongs to environment"):
        database.add(THERE, [made("b", 1), made("a", 1)])
    assert len(database.environments()) == 1


def test_most_samples_win_then_the_latest_and_failures_are_no_answers() -> None:
    database = Database.memory()
    failed = Measurement(
        subject="a", environment=HERE.key, session="f", samples_ns=(9,) * 9, stopped="failed", failure="no memory"
    )
    database.add(HERE, [made("a", 1, 2, 3, session="1"), failed])
    database.add(HERE, [made("a", 4, 5, 6, session="2")])
    database.add(HERE, [made("a", 7, 8, session="3")])
    assert database.find(HERE.key, ["a"])["a"].session == "2"
    assert database.of_session("3") == {"a": made("a", 7, 8, session="3")}
    assert database.of_session("f") == {}


def test_many_subjects_are_looked_up_at_once() -> None:
    """Also where SQLite allows only 999 parameters in a statement, as it once did everywhere."""
    database = Database.memory()
    if hasattr(sqlite3.Connection, "setlimit"):
        database._connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
    database.add(HERE, [made(f"subject {number}", number + 1) for number in range(1200)])
    assert len(database.find(HERE.key, [f"subject {number}" for number in range(3000)])) == 1200


def test_an_addition_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    database = Database(tmp_path / "m.sqlite")
    with pytest.raises(DatabaseError):
        database.add(HERE, [made("a", 1), made("b", 2, environment=THERE)])
    assert database.find(HERE.key, ["a", "b"]) == {}
    database.add(HERE, [made("a", 1)])
    assert set(database.find(HERE.key, ["a"])) == {"a"}


def test_many_processes_create_and_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    script = (
        "import sys, time; from pathlib import Path\n"
        "from tailor.database import Database; from tailor.records import Environment, Measurement\n"
        "here = Environment(facts={'cpu': 'x', 'threads': '1'}); path = Path(sys.argv[1])\n"
        "(path.parent / f'ready-{sys.argv[2]}').touch()\n"
        "while not (path.parent / 'go').exists(): time.sleep(0.0001)\n"
        "database = Database(path)\n"
        "for i in range(20):\n"
        "    m = Measurement(subject=f'{sys.argv[2]}-{i}', environment=here.key, session='s', samples_ns=(i + 1,),"
        " stopped='rounds')\n"
        "    database.add(here, [m])\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, str(path), str(n)]) for n in range(6)]
    while len(list(tmp_path.glob("ready-*"))) < 6:  # all create the file at the same moment
        assert all(writer.poll() is None for writer in writers)
        time.sleep(0.01)
    (tmp_path / "go").touch()
    assert [writer.wait(timeout=120) for writer in writers] == [0] * 6
    keys = [f"{n}-{i}" for n in range(6) for i in range(20)]
    assert set(Database(path).find(HERE.key, keys)) == set(keys)


def test_another_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    Database(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {DATABASE_VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match=f"version {DATABASE_VERSION + 1}.*TAILOR_DATABASE"):
        Database(path)
    assert path.read_bytes() == before


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match="another program"):
        Database(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database at all, just some text", b"SQLite format 3\x00" + b"\x07" * 5000])
def test_a_damaged_file_is_one_line_with_the_way_out_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.sqlite"
    path.write_bytes(content)
    with pytest.raises(DatabaseError, match="TAILOR_DATABASE") as caught:
        Database(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_a_damaged_record_is_a_database_error(tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    database = Database(path)
    database.add(HERE, [made("a", 1)])
    connection = sqlite3.connect(path)
    connection.execute("UPDATE measurements SET record = ?", (b'{"subject": "a"',))
    connection.commit()
    connection.close()
    with pytest.raises(DatabaseError, match=r"not a valid Measurement"):
        database.find(HERE.key, ["a"])


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DatabaseError, match="cannot create the folder"):
        Database(tmp_path / "file" / "m.sqlite")


def test_the_place_is_the_cache_folder_unless_the_environment_names_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TAILOR_DATABASE", raising=False)
    assert default_path().name == "measurements.sqlite"
    monkeypatch.setenv("TAILOR_DATABASE", str(tmp_path / "x.sqlite"))
    assert default_path() == tmp_path / "x.sqlite"
    assert Database().path == tmp_path / "x.sqlite"


def account(ns: float) -> NetworkAccount:
    return NetworkAccount(layers={"conv": LayerAccount(ns=ns, nodes=2)}, ns=ns, nodes=2)


def old_version(path: Path, *stored: Measurement, number: int = 1) -> None:
    """A database as an earlier version left it; measurements of the first had no conditions."""
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1)
    if number == 2:
        connection.executescript(ADDED_BY_2)
    connection.execute("INSERT INTO environments VALUES (?, ?)", (HERE.key, encode(HERE)))
    for place, one in enumerate(stored):
        record = json.loads(encode(one))
        if number == 1:
            del record["conditions"]
        values = (place, HERE.key, place, one.session, len(one.samples_ns), 0, json.dumps(record).encode())
        connection.execute("INSERT INTO subjects VALUES (?, ?)", (place, one.subject))
        connection.execute("INSERT INTO measurements VALUES (?, ?, ?, ?, ?, ?, ?)", values)
    connection.commit()
    connection.close()


def test_accounts_are_found_again_the_latest_counts_and_environments_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    database = Database(path)
    database.add_accounts(HERE, {"a": account(1.0), "b": account(2.0)})
    database.add_accounts(HERE, {"a": account(3.0)})
    database.add_accounts(THERE, {"a": account(4.0)})
    other = Database(path)
    assert other.find_accounts(HERE.key, ["a", "b", "c"], NetworkAccount) == {"a": account(3.0), "b": account(2.0)}
    assert other.find_accounts(THERE.key, ["a", "b"], NetworkAccount) == {"a": account(4.0)}
    assert {environment.key for environment in other.environments()} == {HERE.key, THERE.key}
    assert other.find(HERE.key, ["a"]) == {}


def test_accounts_of_many_subjects_are_looked_up_at_once() -> None:
    database = Database.memory()
    if hasattr(sqlite3.Connection, "setlimit"):
        database._connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
    database.add_accounts(HERE, {f"subject {number}": account(number) for number in range(1200)})
    found = database.find_accounts(HERE.key, [f"subject {number}" for number in range(3000)], NetworkAccount)
    assert len(found) == 1200
    assert found["subject 1100"] == account(1100)


def test_a_damaged_account_is_a_database_error(tmp_path: Path) -> None:
    database = Database(tmp_path / "m.sqlite")
    database.add_accounts(HERE, {"a": account(1.0)})
    database._connection.execute("UPDATE accounts SET record = ?", (b'{"layers": 3}',))
    with pytest.raises(DatabaseError, match=r"not a valid NetworkAccount.*TAILOR_DATABASE"):
        database.find_accounts(HERE.key, ["a"], NetworkAccount)


def test_members_of_a_family_are_found_again_the_latest_counts_and_families_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    database = Database(path)
    database.add_members("f", {"b": Widths({"g": 2}), "a": Widths({"g": 1})})
    database.add_members("f", {"b": {"g": 3}})
    database.add_members("h", {"c": {"g": 4}})
    other = Database(path)
    assert list(other.members("f", dict[str, int]).items()) == [("a", {"g": 1}), ("b", {"g": 3})]
    assert other.members("h", dict[str, int]) == {"c": {"g": 4}}
    assert other.members("none", dict[str, int]) == {}
    with pytest.raises(DatabaseError, match=r"m\.sqlite cannot be used.*TAILOR_DATABASE"):
        other.members("f", int)


@pytest.mark.parametrize("number", [1, 2])
def test_a_file_of_an_earlier_version_keeps_its_measurements_and_takes_what_is_new(
    tmp_path: Path, number: int
) -> None:
    path = tmp_path / "m.sqlite"
    stored = [made("a", 1, 2, 3), made("b", 4)]
    old_version(path, *stored, number=number)
    database = Database(path)
    assert database.find(HERE.key, ["a", "b"]) == {"a": stored[0], "b": stored[1]}
    assert database.of_session("s") == {"a": stored[0], "b": stored[1]}
    database.add_accounts(HERE, {"a": account(1.0)})
    database.add_members("f", {"a": {"g": 1}})
    database.add(HERE, [made("a", 5, 6, 7, 8)])
    database.close()
    again = Database(path)
    assert again._connection.execute("PRAGMA user_version").fetchone()[0] == DATABASE_VERSION
    assert again.find_accounts(HERE.key, ["a"], NetworkAccount) == {"a": account(1.0)}
    assert again.members("f", dict[str, int]) == {"a": {"g": 1}}
    assert again.find(HERE.key, ["a"])["a"].samples_ns == (5, 6, 7, 8)
    assert again.environments() == (HERE,)


def test_processes_that_open_a_file_of_the_first_version_at_once_all_can(tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    stored = made("a", 1, 2, 3)
    old_version(path, stored)
    script = (
        "import sys, time; from pathlib import Path\n"
        "from tailor.database import Database; from tailor.records import Environment\n"
        "here = Environment(facts={'cpu': 'x', 'threads': '1'}); path = Path(sys.argv[1])\n"
        "(path.parent / f'ready-{sys.argv[2]}').touch()\n"
        "while not (path.parent / 'go').exists(): time.sleep(0.0001)\n"
        "Database(path).add_accounts(here, {sys.argv[2]: 7})\n"
    )
    openers = [subprocess.Popen([sys.executable, "-c", script, str(path), str(n)]) for n in range(4)]
    while len(list(tmp_path.glob("ready-*"))) < 4:
        assert all(opener.poll() is None for opener in openers)
        time.sleep(0.01)
    (tmp_path / "go").touch()
    assert [opener.wait(timeout=120) for opener in openers] == [0] * 4
    database = Database(path)
    assert database.find_accounts(HERE.key, [str(n) for n in range(4)], int) == {str(n): 7 for n in range(4)}
    assert database.find(HERE.key, ["a"]) == {"a": stored}


def test_the_slower_of_two_that_bring_a_file_up_to_date_finds_it_done(tmp_path: Path) -> None:
    """Both have read version 1; the second gets the lock when the first is through."""
    path = tmp_path / "m.sqlite"
    old_version(path, made("a", 1))
    faster = Database(path)
    faster.add_accounts(HERE, {"a": account(1.0)})
    assert Database(path)._brought_up_to_date() == DATABASE_VERSION
    assert faster.find_accounts(HERE.key, ["a"], NetworkAccount) == {"a": account(1.0)}


def cut_short(path: Path, kept: float) -> list[str]:
    """Of a file with 300 measurements and accounts, the first part; returns the subjects."""
    database = Database(path)
    keys = [f"subject {number}" for number in range(300)]
    database.add(HERE, [made(key, *range(1, 60)) for key in keys])
    database.add_accounts(HERE, {key: account(1.0) for key in keys})
    database.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    return keys


@pytest.mark.parametrize("kept", [0.95, 0.6, 0.3])
def test_a_file_cut_short_is_a_database_error(tmp_path: Path, kept: float) -> None:
    keys = cut_short(tmp_path / "m.sqlite", kept)

    def read_all() -> None:
        database = Database(tmp_path / "m.sqlite")
        database.find(HERE.key, keys)
        database.find_accounts(HERE.key, keys, NetworkAccount)

    with pytest.raises(DatabaseError, match="TAILOR_DATABASE"):
        read_all()


def test_a_file_that_lost_less_than_a_page_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    """SQLite itself would answer from what is left, with fewer rows and no word about it."""
    cut_short(tmp_path / "m.sqlite", 0.99)
    before = (tmp_path / "m.sqlite").read_bytes()
    with pytest.raises(DatabaseError, match=r"cut off: .* bytes are there; move it away"):
        Database(tmp_path / "m.sqlite")
    assert (tmp_path / "m.sqlite").read_bytes() == before
