"""NetAdapt tightens step by step, lets single groups meet each step, and ends within the limit."""

from __future__ import annotations

from collections import Counter

import pytest
from strategy_suite import CANDIDATES, DENSE_NS, KilledJournal, comparable, problem_of

from tailor.errors import InvalidOptionError
from tailor.search import Journal, NetAdapt, NetAdaptConfig, run_search


@pytest.mark.parametrize("share", [0.9, 0.5, 0.25])
def test_the_result_keeps_the_limit_and_the_way_there_does_not(share: float) -> None:
    problem = problem_of(share=share)
    result = run_search(problem, NetAdapt(problem.space(), NetAdaptConfig()))
    assert result.best is not None
    assert result.best.latency.ns <= problem.limit_ns
    first_kept = min(trial.cycle for trial in result.trials if trial.latency.ns <= problem.limit_ns)
    assert result.best.cycle >= first_kept
    assert all(trial.score is not None for trial in result.trials)
    assert result.planned == len(result.trials)
    assert result.notices == ()
    if share < 0.9:
        assert any(trial.latency.ns > problem.limit_ns for trial in result.trials)


def test_it_goes_on_a_little_below_the_limit() -> None:
    """Where the prediction was too low, a narrower answer still keeps the budget; a single answer ends at the limit."""
    problem = problem_of(share=0.6)
    alone, more = (
        run_search(problem, NetAdapt(problem.space(), NetAdaptConfig(structures=count, step=0.05))) for count in (1, 3)
    )
    assert [trial.widths for trial in more.trials[: len(alone.trials)]] == [trial.widths for trial in alone.trials]
    assert alone.best is not None
    assert alone.best.cycle == alone.trials[-1].cycle
    last = max((t for t in more.trials if t.cycle == more.trials[-1].cycle), key=lambda t: t.score or 0.0)
    assert 0.85 * problem.limit_ns < last.latency.ns <= 0.9 * problem.limit_ns


def test_every_proposal_narrows_one_group_of_the_last_winner() -> None:
    problem = problem_of(share=0.6)
    result = run_search(problem, NetAdapt(problem.space(), NetAdaptConfig()))
    winner = {group: steps[-1] for group, steps in CANDIDATES.items()}
    for cycle in range(result.trials[-1].cycle + 1):
        trials = [trial for trial in result.trials if trial.cycle == cycle]
        for trial in trials:
            changed = [group for group in winner if trial.widths[group] != winner[group]]
            assert changed == [trial.origin.removeprefix("narrow ")]
            assert trial.widths[changed[0]] < winner[changed[0]]
        winner = dict(max(trials, key=lambda trial: (trial.score, -trial.latency.ns)).widths)


def test_each_proposal_is_the_widest_that_meets_the_step() -> None:
    problem = problem_of(share=0.5)
    first = NetAdapt(problem.space(), NetAdaptConfig(reduction=0.05)).ask()
    assert {proposal.origin for proposal in first} == {f"narrow {group}" for group in problem.space().free}
    for proposal in first:
        group = proposal.origin.removeprefix("narrow ")
        assert proposal.widths[group] == 32  # 48 saves 16 of 512 channels, less than 5 %
        assert problem.latency.predict(proposal.widths).ns <= 0.95 * DENSE_NS


def test_a_step_that_no_two_groups_reach_alone_is_halved_until_two_do() -> None:
    problem = problem_of(share=0.5)
    large = NetAdapt(problem.space(), NetAdaptConfig(reduction=0.5, decay=1.0, structures=1))
    told = large.planned
    result = run_search(problem, large)
    proposals = Counter(trial.cycle for trial in result.trials)
    assert min(proposals.values()) >= 2
    small = run_search(problem, NetAdapt(problem.space(), NetAdaptConfig(structures=1)))
    assert len(result.trials) <= len(small.trials)
    assert told >= len(result.trials) // 2
    assert result.best is not None
    assert small.best is not None
    assert result.best.score == pytest.approx(small.best.score, rel=0.05)


def test_a_killed_search_resumes_as_if_never_killed(tmp_path) -> None:
    whole = run_search(problem_of(), NetAdapt(problem_of().space(), NetAdaptConfig()))
    journal = Journal(tmp_path / "trials.jsonl")
    killed = NetAdapt(problem_of().space(), NetAdaptConfig())
    with pytest.raises(KeyboardInterrupt):
        run_search(problem_of(), killed, journal=KilledJournal(journal.path, 13))
    again = problem_of()
    resumed = run_search(again, NetAdapt(again.space(), NetAdaptConfig()), journal=journal)
    assert comparable(resumed) == comparable(whole)
    assert len(again.evaluator.scored) == len(whole.trials) - 13


@pytest.mark.parametrize("changes", [{"reduction": 0.0}, {"decay": 1.5}, {"least": 0.0}])
def test_a_config_without_meaning_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(InvalidOptionError, match="must be above 0"):
        NetAdaptConfig(**changes)
