"""The database gives back what was stored, keeps environments apart, survives many writers, and loses nothing."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tailor.database import DATABASE_VERSION, Database, default_path
from tailor.errors import DatabaseError
from tailor.records import Environment, Measurement

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
