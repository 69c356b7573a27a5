"""What `tailor measure` prints: one network's latency, two networks' ratio, one network on every engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tailor.console import table_text
from tailor.records import Conditions, Interval
from tailor.report.wording import calls_counted, duration, latency, percent
from tailor.tables.network import facts_text

if TYPE_CHECKING:
    from tailor.measuring.engines import EngineComparison, EngineTiming
    from tailor.measuring.networks import Timing

__all__ = ["engines_text", "timing_text"]

_STOPPED = {
    "precise": "the interval was as narrow as asked",
    "rounds": "the most rounds allowed were done",
    "time": "the time allowed was over",
    "protocol": "the protocol's rounds were done",
}
_TYPICAL = 0.05  # that much slower than its quiet level a call must typically be for the user to hear of it


def timing_text(name: str, versus: str | None, timing: Timing) -> str:
    """The latency with all that it rests on; with another network, the ratio and what may be said."""
    counted = f"{calls_counted(timing.settings.statistic)} of {timing.rounds} rounds, {timing.instances} instances"
    rows = [
        (name, f"{_interval(timing.latency)} ({counted})"),
        *_typical(timing),
        ("target", str(timing.target)),
        ("stopped", _STOPPED.get(timing.stopped, timing.stopped)),
        ("resolution", f"{percent(timing.resolution, 2)} between two instances of it in the same session"),
    ]
    if versus is not None and timing.versus_latency and timing.ratio and timing.comparison:
        ratio = timing.ratio
        rows.insert(rows.index(("target", str(timing.target))), (versus, _interval(timing.versus_latency)))
        spread = f"95 % interval {percent(ratio.low)} to {percent(ratio.high)}"
        rows.append(("ratio", f"{percent(ratio.value)} of {versus}, {spread}: {timing.comparison.value}"))
    return facts_text([*rows, *_warnings(timing.conditions)])


def engines_text(name: str, comparison: EngineComparison, columns: int) -> str:
    """Every engine that ran, fastest first; then what did not run, each with its reason; then what to make of it."""
    like = comparison.timings[-1].latency.value
    rows = [_engine_row(timing, like) for timing in comparison.timings]
    unit = duration(like).rpartition(" ")[2]
    headers = ("engine", "computes in", f">{unit}", "95 % interval", f">of {comparison.reference.engine}",
               "95 % interval", ">copies differ by")  # fmt: skip
    reference = comparison.reference
    threads = f"{reference.threads} thread{'s' * (reference.threads > 1)}"
    head = f"{name} on {reference.device}, batch {reference.batch_size}, {threads}; all in one session, fastest first"
    parts = [head, table_text(headers, rows, columns=columns)]
    if comparison.not_run:
        missing = [(f"{each.target.engine} ({each.target.precision})", each.reason) for each in comparison.not_run]
        parts.append(table_text(("did not run", "reason"), missing, columns=columns))
    said = [*comparison.advice, *(f"{name}: {text}" for name, text in _warnings(comparison.conditions))]
    return "\n\n".join([*parts, *(["\n".join(said)] if said else [])])


def _engine_row(timing: EngineTiming, like: float) -> tuple[str, ...]:
    own, ratio = timing.latency, timing.ratio
    computes = timing.precision if timing.precision == timing.target.precision else f"{timing.precision} (its default)"
    spread = f"{latency(own.low, like)} to {latency(own.high, like)}"
    share = "100 %" if ratio is None else percent(ratio.value)
    between = "reference" if ratio is None else f"{percent(ratio.low)} to {percent(ratio.high)}"
    return (timing.target.engine, computes, latency(own.value, like), spread, share, between,
            percent(timing.resolution))  # fmt: skip


def _typical(timing: Timing) -> list[tuple[str, str]]:
    """What the rounds took by their median, where that is far from the quiet level."""
    slower = timing.typical_ns / timing.latency.value - 1
    if timing.settings.statistic != "quiet" or slower < _TYPICAL:
        return []
    return [("typical", f"{duration(timing.typical_ns)}, {percent(slower)} slower: other work disturbs this host")]


def _warnings(conditions: Conditions | None) -> list[tuple[str, str]]:
    return [("warning", text) for text in conditions.noisy()] if conditions is not None else []


def _interval(latency: Interval) -> str:
    return f"{duration(latency.value)}, 95 % interval {duration(latency.low)} to {duration(latency.high)}"
