"""oneDNN keeps the kernels of all networks of a session: none is compiled anew within a call that is timed."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tailor.primitive_cache import ENOUGH, make_room, primitives_kept, too_few

# Two networks of many convolutions, no two alike, in one session of ours, and what Python was warned of.
SESSION = """
{before_tailor}
import warnings, tailor, torch
from tailor.engines import open_device
from tailor.protocols import Subject
from tailor.records import TimingSettings
settings = TimingSettings(min_rounds=1, max_rounds=1, half_width=0.0, warmup_seconds=0.0, prime_seconds=0.0)
layers = {layers}
module = torch.nn.Sequential(*(torch.nn.Conv2d(16, 16, 3, padding=(1, 0)) for _ in range(layers))).eval()
inputs = [torch.zeros(2, 16, 8, 2 * layers + more) for more in (1, 2)]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    timed = open_device(tailor.Target(batch_size=2)).measure(
        [Subject(key=str(image.shape), module=module, inputs=(image,)) for image in inputs], settings
    )
assert not any(one.failure for one in timed)
print([str(one.message) for one in caught if "oneDNN" in str(one.message)])
"""
CONVOLUTION = "import torch; torch.nn.Conv2d(16, 16, 3)(torch.ones(2, 16, 8, 8))"

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
    lines = re.findall(r"create:(cache_hit|cache_miss)", printed(RUN.format(after_torch=after_torch), variables))
    assert lines  # oneDNN ran, and told
    return lines.count("cache_miss")


def warned(before_tailor: str, layers: int = 300, **variables: str) -> str:
    """What a process is warned of that times two networks of so many convolutions."""
    return printed(SESSION.format(before_tailor=before_tailor, layers=layers), variables).splitlines()[-1]


def printed(program: str, variables: dict[str, str]) -> str:
    """The standard output of a fresh process in which the number of primitives is as told here."""
    kept = {name: value for name, value in os.environ.items() if name not in (NAME, OLD)}
    environment = {**kept, "OMP_NUM_THREADS": "1", **variables}  # two threads wait for each other where cores are taken
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


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


def test_a_session_warns_where_tailor_came_too_late() -> None:
    assert warned("import torch") == "[]"  # oneDNN had not been used by then
    assert "import tailor before torch runs anything" in warned(CONVOLUTION)


def test_a_session_warns_of_the_users_number_where_it_needs_more() -> None:
    assert f"start with {NAME}={ENOUGH}" in warned("", layers=30, **{NAME: "16"})
