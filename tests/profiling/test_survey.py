"""A profile's time for whole networks grows with their number and their latency, up to a limit."""

from __future__ import annotations

import time

import pytest
import torch

from tailor.channels import trace
from tailor.profiling.dense import DenseTime
from tailor.profiling.probed import Probed
from tailor.profiling.survey import LayerSurvey, survey_networks
from tailor.records import Interval
from tailor.timing import settings_named
from tiny_net import make

GRAPH = trace(make(), torch.zeros(1, 3, 32, 32))


class Asked:
    """Stands where networks are timed, and notes for how long."""

    seed, seconds, clock = 0, 0.0, staticmethod(time.perf_counter)

    def time(self, networks: object, *, seconds: float, **others: object) -> Probed:
        self.seconds = seconds
        return Probed()


def seconds(ms: float, networks: int, *, spent: float = 10.0) -> float:
    """What so many networks are given, whose dense one takes `ms`, after so many seconds for lone layers."""
    dense = DenseTime(interval=Interval(value=ms * 1e6, low=ms * 1e6, high=ms * 1e6), resolution=0.01, prepare=0.1)
    candidates = {group.name: (group.smallest, group.width) for group in GRAPH.groups}
    layers = LayerSurvey(
        dense=dense, staircases=(), candidates=candidates, lone={}, layer_probes=0, layer_probes_found=0,
        layer_statistic="quiet", seconds=spent,
    )  # fmt: skip
    asked = Asked()
    survey_networks(GRAPH, asked, layers, settings=settings_named("lacp"), networks=networks)  # type: ignore[arg-type]
    return asked.seconds


def test_time_for_networks_grows_with_them_up_to_a_limit() -> None:
    assert seconds(2, 60) == pytest.approx(90)
    assert seconds(200, 60) > 200
    assert seconds(200, 300) == seconds(2, 400) == 400


def test_slow_layers_leave_networks_less_time_so_that_a_profile_takes_ten_minutes() -> None:
    assert seconds(20, 300, spent=300) == 200
    assert seconds(20, 300, spent=1000) == 100
    assert seconds(2, 60, spent=300) == pytest.approx(90)
