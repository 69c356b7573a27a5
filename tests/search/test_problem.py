"""The loop: progress, what a result says, and what changes a search's fingerprint."""

import dataclasses

import pytest
from strategy_suite import problem_of

from tailor.errors import RunFolderError
from tailor.search import (
    Evolution,
    EvolutionConfig,
    Journal,
    RandomSearch,
    RandomSearchConfig,
    SearchResult,
    run_search,
)

CONFIG = RandomSearchConfig(structures=12, batch=5)


def test_progress_counts_up_and_shows_the_best_so_far():
    problem, seen = problem_of(), []
    strategy = RandomSearch(problem.space(), CONFIG, seed=0)
    result = run_search(problem, strategy, progress=lambda *state: seen.append(state))
    assert [(done, planned) for done, planned, _ in seen] == [(n, 12) for n in range(1, 13)]
    for done, _, best in seen:
        assert best.score == max(trial.score for trial in result.trials[:done])
    assert seen[-1][2] == result.best


def test_no_trial_has_no_best():
    empty = SearchResult(trials=(), seconds=0.0, planned=3, limit_ns=1)
    assert empty.best is None
    assert empty.fastest is None


def test_a_fingerprint_knows_the_strategys_options():
    problem = problem_of()
    strategies = [
        Evolution(problem.space(), EvolutionConfig(), seed=0),
        Evolution(problem.space(), EvolutionConfig(), seed=1),
        Evolution(problem.space(), EvolutionConfig(mutation_rate=0.2), seed=0),
        RandomSearch(problem.space(), CONFIG, seed=0),
        RandomSearch(problem.space(), RandomSearchConfig(), seed=0),
    ]
    assert len({problem.fingerprint(strategy) for strategy in strategies}) == len(strategies)
    assert problem_of(seed=1).fingerprint(strategies[0]) != problem.fingerprint(strategies[0])


def test_seconds_of_earlier_sessions_are_counted(tmp_path):
    problem = problem_of()
    strategy = RandomSearch(problem.space(), CONFIG, seed=0)
    journal = Journal(tmp_path / "trials.jsonl")
    journal.replay(problem.fingerprint(strategy))
    for trial in run_search(problem, RandomSearch(problem.space(), CONFIG, seed=0)).trials[:7]:
        journal.append(dataclasses.replace(trial, seconds=100.0))
    assert 700 <= run_search(problem, strategy, journal=journal).seconds < 800


def test_a_journal_whose_latency_model_changed_is_refused(tmp_path):
    """The fingerprint cannot see inside a latency model, but replay notices that other structures are asked for."""
    problem = problem_of()
    path = tmp_path / "trials.jsonl"
    run_search(problem, RandomSearch(problem.space(), CONFIG, seed=0), journal=Journal(path))

    class Slower:
        def predict(self, widths):
            return dataclasses.replace(problem.latency.predict(widths), ns=problem.latency.predict(widths).ns * 6 // 5)

    other = dataclasses.replace(problem, latency=Slower())
    with pytest.raises(RunFolderError, match="disagree at trial"):
        run_search(other, RandomSearch(other.space(), CONFIG, seed=0), journal=Journal(path))
