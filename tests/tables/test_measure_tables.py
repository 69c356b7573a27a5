"""What `measure` prints: every number with what it rests on, and nothing that failed left out."""

from dataclasses import replace

import sample_run
from tailor.measuring import Comparison, Timing
from tailor.measuring.engines import EngineComparison, EngineTiming, NotRun
from tailor.records import Conditions, Interval, TimingSettings
from tailor.spec import Target
from tailor.tables.measure import engines_text, timing_text

QUIET = Conditions(seconds=3.0, steady=True, drift=0.0, samples=60, retaken=0)


def timing(conditions: Conditions | None = QUIET) -> Timing:
    return Timing(
        target=sample_run.TARGET,
        environment=sample_run.ENVIRONMENT,
        settings=TimingSettings(),
        latency=Interval(value=4_910_000, low=4_880_000, high=4_950_000),
        samples_ns=((4_910_000,) * 20,) * 3,
        stopped="precise",
        resolution=0.004,
        conditions=conditions,
        versus_latency=Interval(value=8_333_000, low=8_290_000, high=8_402_000),
        ratio=Interval(value=0.589, low=0.585, high=0.594),
        comparison=Comparison.FASTER,
    )


def test_a_timing_tells_all_that_it_rests_on() -> None:
    text = timing_text("small", None, timing())
    assert "4.91 ms, 95 % interval 4.88 ms to 4.95 ms (quickest quarter of 20 rounds, 3 instances)" in text
    assert "0.40 % between two instances" in text
    assert "FASTER" not in text
    assert "warning" not in text
    assert "typical" not in text


def test_what_calls_typically_take_is_told_where_other_work_disturbs_the_host() -> None:
    busy = replace(timing(), samples_ns=((4_910_000,) * 6 + (5_892_000,) * 14,) * 3)
    text = timing_text("small", "large", busy)
    assert "typical     5.89 ms, 20.0 % slower: other work disturbs this host" in text
    assert text.index("4.91 ms") < text.index("5.89 ms") < text.index("8.33 ms") < text.index("target")
    paper = replace(busy, settings=replace(busy.settings, statistic="mean"))
    assert "typical" not in timing_text("small", None, paper)


def test_a_comparison_tells_both_latencies_and_the_ratio() -> None:
    text = timing_text("small", "large", timing())
    assert "large" in text
    assert "8.33 ms" in text
    assert "58.9 % of large, 95 % interval 58.5 % to 59.4 %: FASTER" in text


def test_a_noisy_host_is_told() -> None:
    text = timing_text("small", None, timing(replace(QUIET, steal=0.1, drift=0.2)))
    assert "warning     the machine became 20% slower meanwhile" in text
    assert "other machines (steal)" in text


def row(engine: str, ns: float, ratio: Interval | None, precision: str = "fp32", asked: str = "fp32") -> EngineTiming:
    return EngineTiming(
        target=Target(engine=engine, precision=asked),
        environment=sample_run.ENVIRONMENT,
        precision=precision,
        latency=Interval(value=ns, low=0.99 * ns, high=1.01 * ns),
        resolution=0.012,
        ratio=ratio,
        samples_ns=((round(ns),) * 12,) * 3,
    )


def test_engines_are_listed_fastest_first_and_the_missing_ones_with_their_reasons() -> None:
    third = Interval(value=0.32, low=0.31, high=0.33)
    rows = (row("openvino", 2.3e6, third, "bf16", "auto"), row("torch", 7.1e6, None))
    comparison = EngineComparison(
        settings=TimingSettings(), reference=Target(), timings=rows, conditions=replace(QUIET, throttled=3),
        not_run=(NotRun(target=Target(engine="tensorrt"), reason="pip install 'tailor-prune[tensorrt]'"),),
        advice=("the engine matters more",),
    )  # fmt: skip
    text = engines_text("net", comparison, 160)
    lines = text.splitlines()
    first, second = (next(n for n, line in enumerate(lines) if line.startswith(name)) for name in ("openvino", "torch"))
    assert first < second
    assert "bf16 (its default)" in lines[first]
    assert "2.30" in lines[first]
    assert "32.0 %   31.0 % to 33.0 %" in lines[first]
    assert "reference" in lines[second]
    assert "tensorrt (fp32)   pip install 'tailor-prune[tensorrt]'" in text
    assert lines[-2:] == [
        "the engine matters more", "warning: the container's processor quota stopped this process 3 times"
    ]
