"""The journal survives kills at any byte and refuses what is not its own."""

import pytest

from tailor.errors import RunFolderError
from tailor.records import Estimate, Trial
from tailor.search import Journal
from tailor.spec import Widths

ESTIMATE = Estimate(ns=5, low_ns=4, high_ns=6, source="fitted")


def trial(number: int, score: float | None = 0.1) -> Trial:
    return Trial(
        number=number,
        cycle=0,
        origin="random",
        widths=Widths({"b": 3, "a": 4 + number}),
        latency=ESTIMATE,
        score=score,
        seconds=0.25,
    )


def filled(path) -> list[Trial]:
    journal = Journal(path)
    assert journal.replay("x") == ()
    trials = [trial(0), trial(1, None), trial(2, 0.1 + 0.2)]
    for each in trials:
        journal.append(each)
    return trials


def test_what_is_appended_is_replayed_exactly(tmp_path):
    path = tmp_path / "new" / "trials.jsonl"
    trials = filled(path)
    journal = Journal(path)
    assert list(journal.replay("x")) == trials
    assert journal.notice is None


def test_cut_at_any_byte_it_gives_the_whole_trials_and_goes_on(tmp_path):
    path = tmp_path / "trials.jsonl"
    trials = filled(path)
    content = path.read_bytes()
    ends = [index for index, byte in enumerate(content) if byte == ord("\n")]
    for length in range(len(content)):
        path.write_bytes(content[:length])
        journal = Journal(path)
        whole = max(sum(end < length for end in ends) - 1, 0)
        assert list(journal.replay("x")) == trials[:whole]
        torn = length > ends[0] and length - 1 not in ends
        assert (journal.notice is not None) == torn
        journal.append(trials[whole])
        assert list(Journal(path).replay("x")) == trials[: whole + 1]


def test_the_notice_names_the_file_and_what_is_kept(tmp_path):
    path = tmp_path / "trials.jsonl"
    filled(path)
    path.write_bytes(path.read_bytes()[:-10])
    journal = Journal(path)
    journal.replay("x")
    assert str(path) in journal.notice
    assert "2 trials kept" in journal.notice


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"my shopping list\n", "is no search journal"),
        (b"my shopping list", "is no search journal"),
        (b'{"schema":9,"search":"x"}\n', "has schema 9, this Tailor reads 1"),
        (b'{"schema":1,"search":"y"}\n', "belongs to another search"),
        (b'{"schema":1,"search":"x"}\n{"number":0\n', "damaged at line 2"),
    ],
)
def test_a_file_that_is_not_its_own_is_refused_and_left_alone(tmp_path, content, message):
    path = tmp_path / "trials.jsonl"
    path.write_bytes(content)
    with pytest.raises(RunFolderError, match=message):
        Journal(path).replay("x")
    assert path.read_bytes() == content


def test_a_missing_trial_is_damage(tmp_path):
    path = tmp_path / "trials.jsonl"
    filled(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1], lines[3]]))
    with pytest.raises(RunFolderError, match="damaged at line 3: trial 2 where 1 belongs"):
        Journal(path).replay("x")
