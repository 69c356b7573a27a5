"""The sections of the profile: which widths are ringed, and which errors are told."""

from dataclasses import replace
from pathlib import Path

import sample_run
from tailor.report.document import Facts, Picture
from tailor.report.folder import read_run
from tailor.report.profile_sections import _chosen, latency_model, profile_figure, staircases
from tailor.report.sections import verification


def test_chosen_channels_are_read_from_the_groups_of_each_axis(run_folder: Path) -> None:
    profile = sample_run.profile()
    by_key = {(each.layers[0], each.axis): each for each in profile.staircases}
    widths = {sample_run.name_of(place): 100 + place for place in range(len(sample_run.DENSE))}
    assert _chosen(profile, by_key["features.21", "out"], widths) == (107, 108)  # two layers of one shape
    assert _chosen(profile, by_key["features.21", "in"], widths) == (106, 107)
    assert _chosen(profile, by_key["features.3", "in"], None) == ()


def test_both_axes_are_drawn_and_the_second_is_folded(run_folder: Path) -> None:
    section = staircases(read_run(run_folder))
    assert "from 252 lone-layer probes, 40 of them known from before." in section.lead
    blocks = section.blocks
    assert [isinstance(block, Picture) and block.folded for block in blocks] == [
        None,
        "Staircases along the input channels",
    ]


def test_the_models_own_error_is_told(run_folder: Path) -> None:
    section = latency_model(read_run(run_folder))
    assert "1.8 % mean, 6.4 % worst" in section.lead
    facts = next(block for block in section.blocks if isinstance(block, Facts))
    assert ("within 5 %, 10 %", "95 %, 100 % of the networks") in facts.rows
    assert ("calls counted", "quickest quarter of each network's") in facts.rows
    assert ("of lone layers", "quickest quarter") in facts.rows
    assert ("host's state", "moves a session's ratios by 2.1 %; the model tells the mean state") in facts.rows


def test_usual_levels_say_that_the_host_s_moments_are_left_out(run_folder: Path) -> None:
    run = read_run(run_folder)
    assert run.profile is not None
    assert run.verdict is not None
    run = replace(
        run, profile=replace(run.profile, statistic="usual"), verdict=replace(run.verdict, statistic="usual")
    )
    for section, whose in ((latency_model(run), "network's"), (verification(run), "instance's")):
        facts = next(block for block in section.blocks if isinstance(block, Facts))
        told = f"quickest three quarters of each {whose}, without what the host did at their moments"
        assert ("calls counted", told) in facts.rows


def test_what_counts_of_lone_layers_is_told_by_itself(run_folder: Path) -> None:
    run = read_run(run_folder)
    assert run.profile is not None
    section = latency_model(replace(run, profile=replace(run.profile, layer_statistic="usual")))
    rows = next(block for block in section.blocks if isinstance(block, Facts)).rows
    assert ("of lone layers", "quickest three quarters, without what the host did at their moments") in rows
    assert ("calls counted", "quickest quarter of each network's") in rows


def test_the_verdict_tells_the_host_s_state_where_its_intervals_hold_one(run_folder: Path) -> None:
    run = read_run(run_folder)
    assert run.verdict is not None
    told = {}
    for noise in (0.0, 0.034):
        section = verification(replace(run, verdict=replace(run.verdict, host_noise=noise)))
        rows = dict(next(block for block in section.blocks if isinstance(block, Facts)).rows)
        told[noise] = rows.get("host's state")
    assert told == {0.0: None, 0.034: "moves a session's ratios by 3.4 %, as the profile saw it; the intervals hold it"}


def test_without_a_profile_both_say_so(run_folder: Path) -> None:
    (run_folder / "profile.json").unlink()
    run = read_run(run_folder)
    assert "profile.json" in staircases(run).lead
    assert "profile.json" in latency_model(run).lead


def test_a_profile_alone_makes_a_figure_of_all_its_staircases() -> None:
    profile = sample_run.profile()
    titles = [axes.get_title(loc="left") for axes in profile_figure(profile).axes if axes.get_visible()]
    groups = [title for title in titles if title.startswith("group ")]
    assert len(titles) - len(groups) == len(profile.staircases)
    assert titles[0] == "features.3, output"
    assert "group features.3" in groups
    few = replace(profile, staircases=profile.staircases[:1])
    assert len(profile_figure(few).axes) >= 1
