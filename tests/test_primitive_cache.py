"""oneDNN keeps the kernels of all networks of a session: none is compiled anew within a call that is timed."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tailor.primitive_cache import ENOUGH, make_room, primitives_kept, too_few

NAME, OLD = "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "DNNL_PRIMITIVE_CACHE_CAPACITY"

# Convolutions of many shapes, then the first of them again: is it still there?
RUN = """
import torch
{after_torch}
with torch.inference_mode():
    def call(width):
        torch.nn.functional.conv2d(torch.ones(2, 16, 8, width), torch.ones(16, 16, 3, 3), padding=1)
    for width in range(1, 1101):
        call(width)
    with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON_CREATION):
        call(1)
"""


def compiled_again(after_torch: str, **variables: str) -> int:
    """How many primitives a process compiles for a shape that it has run 1100 convolutions before."""
    environment = {name: value for name, value in os.environ.items() if name not in (NAME, OLD)} | variables
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(after_torch=after_torch)], env=environment, capture_output=True, text=True,
        check=True,
    )
    lines = re.findall(r"create:(cache_hit|cache_miss)", done.stdout)
    assert lines  # oneDNN ran, and told
    return lines.count("cache_miss")


def test_kernels_of_a_large_session_are_kept_once_tailor_is_imported() -> None:
    assert compiled_again("") > 0  # what happens without
    assert compiled_again("import tailor") == 0


def test_what_the_user_chose_stays() -> None:
    assert compiled_again("import tailor", **{NAME: "16"}) > 0
    assert compiled_again("import tailor", **{OLD: "16"}) > 0


def test_the_variable_is_told_and_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (NAME, OLD):
        monkeypatch.delenv(name, raising=False)
    assert primitives_kept(os.environ) == too_few(os.environ) == ""
    make_room()
    assert primitives_kept(os.environ) == f"{NAME}={ENOUGH}"
    assert too_few(os.environ) == ""
    for value in (str(ENOUGH - 1), "0", "many", "-1", ""):
        assert too_few({OLD: value}) == f"{OLD}={value}"
    assert too_few({NAME: str(2 * ENOUGH), OLD: "16"}) == ""
