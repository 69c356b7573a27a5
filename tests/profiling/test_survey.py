"""A profile's time for whole networks grows with their number and their latency, up to a limit."""

from __future__ import annotations

import pytest

from tailor.profiling import survey
from tailor.profiling.dense import DenseTime
from tailor.records import Interval


def dense(ms: float) -> DenseTime:
    return DenseTime(interval=Interval(value=ms * 1e6, low=ms * 1e6, high=ms * 1e6), resolution=0.01, prepare=0.1)


def test_time_for_networks_grows_with_them_up_to_a_limit() -> None:
    assert survey._network_seconds(dense(2), 60) == pytest.approx(90)
    assert survey._network_seconds(dense(200), 60) > 200
    assert survey._network_seconds(dense(200), 300) == survey._network_seconds(dense(2), 400) == 400
