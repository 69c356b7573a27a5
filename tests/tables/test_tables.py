"""What the commands print: complete, and with the reasons."""

import re
from dataclasses import replace

import sample_run
from tailor.latency.kernels import StepReason
from tailor.records import GraphSummary
from tailor.tables.network import facts_text, graph_text, profile_text


def graph() -> GraphSummary:
    groups = tuple(sample_run.group(place) for place in range(len(sample_run.DENSE)))
    return GraphSummary(
        fingerprint="0", groups=groups, layers=14, macs=78_700_000, parameters=3_680_000, channels=2112
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
    text = profile_text("vgg", replace(profile, layer_statistic="usual"), 160)
    for each in profile.staircases:
        assert " ".join(map(str, each.staircase.edges)) in text
    for widths in profile.candidates.values():
        assert " ".join(map(str, widths)) in text
    assert "1.8 % mean, 6.4 % worst on 60 held-out networks" in text
    assert "0.40 % between two copies" in text
    assert re.search("of lone layers +quickest three quarters, without what the host did at their moments", text)
    assert "212 of lone layers (40 known from before), 60 whole networks (12 known), 22 s" in text


def test_facts_are_aligned() -> None:
    assert facts_text([("a", "1"), ("long", "2")]) == "a     1\nlong  2"


def test_every_step_is_told_with_its_reason_once() -> None:
    profile = sample_run.profile()
    first = profile.staircases[0]
    why = (
        StepReason(channels=8, sentence="k works in blocks of 8"),
        StepReason(channels=16, sentence="k works in blocks of 8"),
        StepReason(channels=24, sentence="unknown: not told"),
    )
    text = profile_text("vgg", replace(profile, staircases=(replace(first, why=why), *profile.staircases[1:])), 160)
    assert "k works in blocks of 8 (at 8 16)" in text
    assert "unknown: not told (at 24)" in text
    assert "1-16 17-32" in text
