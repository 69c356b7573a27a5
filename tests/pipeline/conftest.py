"""What the tests of the line share."""

from __future__ import annotations

import pytest
from test_line import request

from tailor.console import SilentReporter
from tailor.latency.profile import Profile
from tailor.pipeline.begin import begin
from tailor.pipeline.profiled import profiled_on


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return profiled_on(begin(request(tmp_path_factory.mktemp("anchoring") / "profile"), SilentReporter()))
