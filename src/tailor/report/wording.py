"""Numbers as words: every latency, share and count of the report and the terminal is formatted here and only here."""

from __future__ import annotations

from tailor.records import Stages, Verdict

__all__ = [
    "calls_counted",
    "change",
    "count",
    "duration",
    "host_state",
    "latency",
    "moments_left_out",
    "percent",
    "points",
    "seconds",
    "verdict_line",
]

_MINUS = "\N{MINUS SIGN}"  # as wide as a plus, so that columns of changes stand straight
_UNITS = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"))


_CALLS = {
    "quiet": "quickest quarter",
    "usual": "quickest three quarters",
    "median": "median",
    "mean": "mean",
}


def calls_counted(statistic: str) -> str:
    """Which of its calls a latency is told by: "quickest quarter"."""
    return _CALLS[statistic]


def moments_left_out(statistic: str) -> str:
    """What is said after the calls that count where the host's moments are taken out of them, "" where they are not."""
    return ", without what the host did at their moments" if statistic == "usual" else ""


def host_state(noise: float) -> str:
    """What the host's state adds to the ratios of a session: "moves a session's ratios by 2.1 % ..."."""
    return f"moves a session's ratios by {percent(noise)}; the model tells the mean state"


def _digits(number: float) -> str:
    """Three significant digits as a plain decimal, four where the first is a one (1.234, 12.35, 5.67, 89.1)."""
    size = abs(number)
    for bound, decimals in ((2, 3), (20, 2), (200, 1)):
        if size < bound:
            return f"{number:.{decimals}f}"
    return f"{number:.0f}"


def _scale(ns: float) -> tuple[float, str]:
    return next(((size, unit) for size, unit in _UNITS if abs(ns) >= 0.9995 * size), (1e3, "µs"))


def duration(ns: float) -> str:
    """A latency with its unit, three to four significant digits: "4.91 ms"."""
    size, unit = _scale(ns)
    return f"{_digits(ns / size)} {unit}"


def latency(ns: float, like: float) -> str:
    """A latency without its unit, in the unit and precision that `like` would be printed in."""
    size, _ = _scale(like)
    decimals = len(_digits(like / size).partition(".")[2])
    return f"{ns / size:.{decimals}f}"


def percent(share: float, decimals: int = 1) -> str:
    """A share of 0 to 1 as a percentage: "76.1 %"."""
    return f"{100 * share:.{decimals}f} %"


def points(before: float, after: float) -> str:
    """The change of a share in percentage points, signed."""
    return f"{_signed(100 * (after - before), 2)} points"


def change(before: float, after: float) -> str:
    """The change relative to `before`, signed; "n/a" when there is nothing to compare with."""
    return "n/a" if before == 0 else f"{_signed(100 * (after / before - 1), 1)} %"


def _signed(number: float, decimals: int) -> str:
    text = f"{abs(number):.{decimals}f}"
    if float(text) == 0:
        return f"±{text}"
    return f"{_MINUS if number < 0 else '+'}{text}"


def count(number: int) -> str:
    """A count to three digits with the usual prefix: "125 M", "33.1 M", "1.41 M", "853 k", "1,424"."""
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * size and number >= 1e4:  # 999,600 is 1.00 M, not 1000 k
            scaled = number / size
            return f"{scaled:.{2 - (scaled >= 9.995) - (scaled >= 99.95)}f} {prefix}"
    return f"{number:,}"


def seconds(number: float) -> str:
    """A span that someone waited: "42 s", "3 min 20 s", "2 h 5 min"."""
    if number < 10:
        return f"{number:.1f} s"
    whole = round(number)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def verdict_line(verdict: Verdict, stages: Stages | None) -> str:
    """The one line that matters: budget asked, latency measured in a fresh process, the verdict, and the accuracy.

    For example `budget 60% (5.00 ms) -> measured 4.91 ms (95 % interval 4.88-4.95) PASS; top-1 76.1 -> 75.4`.
    """
    measured, limit = verdict.pruned, verdict.limit_ns
    asked = f"{verdict.budget.text} ({duration(limit)})" if verdict.budget.share is not None else duration(limit)
    low, high = (latency(edge, like=measured.value) for edge in (measured.low, measured.high))
    line = (
        f"budget {asked} -> measured {duration(measured.value)} (95 % interval {low}-{high}) {verdict.outcome.value}"
    )
    before, after = _accuracies(verdict, stages)
    if before is None or after is None:
        return line
    return f"{line}; top-1 {100 * before:.1f} -> {100 * after:.1f}"


def _accuracies(verdict: Verdict, stages: Stages | None) -> tuple[float | None, float | None]:
    if verdict.accuracy is not None:
        return verdict.dense_accuracy, verdict.accuracy
    return (stages.dense, stages.final) if stages is not None else (None, None)
