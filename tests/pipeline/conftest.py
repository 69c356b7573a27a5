"""What the tests of the line share."""

from __future__ import annotations

import pytest
from planted_machine import line_of, planted_profile

from tailor.latency.profile import Profile


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return planted_profile(line_of(tmp_path_factory.mktemp("planted") / "run", "lacp"))
