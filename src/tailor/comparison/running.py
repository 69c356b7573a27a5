"""Runs every method from the same dense weights, on the same target, budget, data split and fine-tuning."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tailor.comparison.rows import ComparedRun, Comparison
from tailor.comparison.writing import write_comparison
from tailor.console import Reporter
from tailor.errors import BudgetUnreachableError, DataError, InvalidOptionError, TailorError
from tailor.latency.profile import Profile
from tailor.methods import Method, method_named
from tailor.pipeline import PruneRequest, PruneResult, prune
from tailor.pipeline.begin import begin
from tailor.pipeline.profiled import profiled_on
from tailor.records import Budget, GradualRecord, SearchSummary
from tailor.serialize import read_record, write_record

__all__ = ["CompareRequest", "compare"]

ERROR = "ERROR"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CompareRequest:
    """What every run shares, and what they differ in. `shared.out` is the folder of the whole comparison.

    Methods are names, or recipes of the caller's own, each with a name of its own.

    `shared.method`, `shared.budget`, `shared.seed` and `shared.resume` are not used.
    """

    shared: PruneRequest
    methods: Sequence[str | Method]
    budgets: Sequence[Budget]
    seeds: Sequence[int] = (0,)


def compare(request: CompareRequest, *, console: Reporter) -> Comparison:
    """Profile once, then run method after method; what is finished is not run again when the comparison is resumed.

    The tables are written anew after every run. A method that fails is a row that says so; the others go on.

    Raises:
        InvalidOptionError: nothing to compare, or a method or budget named twice.
        DataError: there is no data.
        UnknownNameError: a method that there is not.
        TailorError: the network cannot be traced or profiled, or the folder belongs to something else.
    """
    _check(request)
    profiled = _profile(request, console)
    runs: list[ComparedRun] = []
    found = _comparison(request, profiled, runs)
    for budget, seed, method in itertools.product(request.budgets, request.seeds, request.methods):
        console.stage(f"{_name(method)} at {budget.text}, seed {seed}")
        runs.append(_run(request, profiled, method, budget, seed, console))
        found = _comparison(request, profiled, runs)
        write_comparison(request.shared.out, found)
    return found


def _check(request: CompareRequest) -> None:
    if request.shared.data is None:
        raise DataError("methods are compared by their accuracy, which needs data; give data", value=None)
    for name, values in (
        ("method", [_name(method) for method in request.methods]),
        ("budget", [each.text for each in request.budgets]),
        ("seed", request.seeds),
    ):
        if not values:
            raise InvalidOptionError(f"no {name} to compare", value=values)
        if len(set(values)) != len(values):
            raise InvalidOptionError(f"a {name} is named twice: {', '.join(map(str, values))}", value=values)
    for method in request.methods:
        if isinstance(method, str):
            method_named(method)


def _name(method: str | Method) -> str:
    return method if isinstance(method, str) else method.name


def _profile(request: CompareRequest, console: Reporter) -> Profile:
    """Measured once for all, in a run folder of its own.

    Its method and budget decide nothing and stay the same, so that methods and budgets may be added later; data,
    target and fine-tuning are held against the folder's by `begin`.
    """
    place = request.shared.out / "profile"
    asked = replace(request.shared, out=place, method="lacp", budget=Budget.parse("50%"), resume=place.exists())
    return profiled_on(begin(asked, console))


def _run(
    request: CompareRequest, profiled: Profile, method: str | Method, budget: Budget, seed: int, console: Reporter
) -> ComparedRun:
    called = _name(method)
    name = f"{called}-{budget.text.replace('%', 'pc')}-{seed}"
    place = request.shared.out / name
    stored = place / "compared.json"
    if stored.exists():
        console.say("taken from its folder")
        return read_record(stored, ComparedRun)
    recipe = replace(request.shared.recipe, seed=seed)
    asked = replace(
        request.shared, out=place, method=method, budget=budget, seed=seed, recipe=recipe, resume=place.exists(),
        profile=profiled,
    )
    started = time.perf_counter()
    try:
        result = prune(asked, console=console)
    except TailorError as error:
        console.warn(f"{called}: {error}")
        row = ComparedRun(method=called, budget=budget.text, seed=seed, folder=name, outcome=ERROR, reason=str(error))
        if isinstance(error, BudgetUnreachableError):  # it would be the next time
            write_record(stored, row)
        return row
    row = _row(result, called, budget, seed, time.perf_counter() - started)
    write_record(stored, row)
    return row


def _row(result: PruneResult, method: str, budget: Budget, seed: int, seconds: float) -> ComparedRun:
    search = read_record(result.out / "search.json", SearchSummary)
    gradual = result.out / "gradual.json"  # what was trained on the way belongs to the search
    trained = read_record(gradual, GradualRecord).seconds if gradual.exists() else 0.0
    return ComparedRun(
        method=method,
        budget=budget.text,
        seed=seed,
        folder=result.out.name,
        outcome=result.verdict.outcome.value,
        reason=result.verdict.reason,
        accuracy=result.reductions.accuracy,
        ratio=result.verdict.ratio,
        macs=result.reductions.macs,
        parameters=result.reductions.parameters,
        channels=result.reductions.channels,
        structures=search.structures,
        search_seconds=search.seconds + trained,
        seconds=seconds,
    )


def _comparison(request: CompareRequest, profiled: Profile, runs: Sequence[ComparedRun]) -> Comparison:
    shared = request.shared
    return Comparison(
        model=shared.model_spec or type(shared.model).__qualname__,
        target=shared.target,
        data=shared.data_spec or (shared.data.name if shared.data else ""),
        recipe=shared.recipe.name,
        epochs=shared.recipe.epochs,
        environment=profiled.environment,
        runs=tuple(runs),
        command=shared.command,
    )
