"""What the commands print: complete, and with the reasons."""

import sample_run
from tailor.measuring import Comparison, Timing
from tailor.records import GraphSummary, Interval, TimingSettings
from tailor.tables import facts_text, graph_text, profile_text, timing_text


def graph() -> GraphSummary:
    groups = tuple(sample_run.group(place) for place in range(len(sample_run.DENSE)))
    return GraphSummary(
        fingerprint="0", groups=groups, layers=14, macs=78_700_000, parameters=3_680_000, channels=2112
    )


def timing() -> Timing:
    return Timing(
        target=sample_run.TARGET,
        environment=sample_run.ENVIRONMENT,
        settings=TimingSettings(),
        latency=Interval(value=4_910_000, low=4_880_000, high=4_950_000),
        samples_ns=(4_910_000,) * 20,
        stopped="precise",
        resolution=0.004,
        versus_latency=Interval(value=8_333_000, low=8_290_000, high=8_402_000),
        ratio=Interval(value=0.589, low=0.585, high=0.594),
        comparison=Comparison.FASTER,
    )


def test_every_group_is_listed_once_and_every_pin_has_its_reason() -> None:
    text = graph_text("tailor/vgg16-cifar@0.5", graph(), 120)
    first = [line.split()[0] for line in text.splitlines() if line.startswith("features.")]
    assert first == [sample_run.name_of(place) for place in range(len(sample_run.DENSE))]
    assert "13 groups of channels, 12 can be cut, 1 pinned" in text
    pinned = text[text.index("\npinned") :]
    assert "features.36" in pinned
    assert "feeds the output of the model" in pinned


def test_a_profile_tells_stairs_candidates_and_its_own_error() -> None:
    profile = sample_run.profile()
    text = profile_text("vgg", profile, 160)
    for each in profile.staircases:
        assert " ".join(map(str, each.staircase.edges)) in text
    for widths in profile.candidates.values():
        assert " ".join(map(str, widths)) in text
    assert "1.8 % mean, 6.4 % worst on 60 held-out networks" in text
    assert "0.40 % between two copies" in text


def test_a_timing_tells_all_that_it_rests_on() -> None:
    text = timing_text("small", None, timing())
    assert "4.91 ms, 95 % interval 4.88 ms to 4.95 ms (median of 20 rounds)" in text
    assert "0.40 % between two copies" in text
    assert "FASTER" not in text


def test_a_comparison_tells_both_latencies_and_the_paired_ratio() -> None:
    text = timing_text("small", "large", timing())
    assert "large" in text
    assert "8.33 ms" in text
    assert "58.9 % of large, 95 % interval 58.5 % to 59.4 %: FASTER" in text


def test_facts_are_aligned() -> None:
    assert facts_text([("a", "1"), ("long", "2")]) == "a     1\nlong  2"
