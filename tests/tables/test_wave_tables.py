"""The wave analysis tells what a kernel wastes, what it does not know, and when narrowing cannot help."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from click.testing import CliRunner

from tailor.cli import cli
from tailor.errors import SchemaError
from tailor.latency.wave_report import wave_report
from tailor.latency.waves import Gpu, KernelLaunch
from tailor.tables.waves import waves_text

GPU = Gpu(name="A100", capability=(8, 0), processors=108, threads=2048, registers=65536, shared_bytes=167936)


def launches(grids: tuple[int, ...]) -> list[KernelLaunch]:
    return [
        KernelLaunch(
            kernel="void conv<64>(float*)", grid=(grid, 1, 1), block=(256, 1, 1), registers=32, shared_bytes=80_000,
            ns=4_000 + 10_000 * math.ceil(grid / 216),
        )
        for grid in grids
    ]


def test_the_table_tells_waves_tail_unknown_occupancy_and_the_fitted_steps() -> None:
    text = waves_text(wave_report(GPU, launches((200, 220, 430, 440, 648))), 160)
    row = next(line for line in text.splitlines() if " 220 " in line)
    assert row.split() == ["1", "24.0", "µs", "220", "2", "1.02", "51", "%", "unknown", "216", "conv"]
    assert "+71%/+71%" in text
    assert "cannot" not in text


def test_one_wave_means_that_fewer_channels_gain_nothing() -> None:
    text = waves_text(wave_report(GPU, launches((50, 100))), 160)
    assert "100 % of the time is in kernels that fit into one wave" in text
    assert "no wave model can be fitted" in text


def trace(path: Path) -> Path:
    device = {
        "id": 0, "name": "A100", "computeMajor": 8, "computeMinor": 0, "numSms": 108,
        "maxThreadsPerMultiprocessor": 2048, "regsPerMultiprocessor": 65536, "sharedMemPerMultiprocessor": 167936,
    }
    events = [
        {
            "cat": "kernel", "name": each.kernel, "ts": place, "dur": each.ns / 1000,
            "args": {
                "device": 0, "registers per thread": 32, "shared memory": 80_000, "grid": list(each.grid),
                "block": list(each.block), "est. achieved occupancy %": 0,
            },
        }
        for place, each in enumerate(launches((200, 220, 430, 440, 648)))
    ]
    path.write_text(json.dumps({"deviceProperties": [device], "traceEvents": events}))
    return path


def printed(*words: str) -> str:
    return CliRunner().invoke(cli, words, catch_exceptions=False, standalone_mode=False).output


def test_the_command_reads_traces(tmp_path: Path) -> None:
    path = str(trace(tmp_path / "t.json"))
    assert "compute capability 8.0" in printed("analyze-waves", path, "--also", path)
    assert json.loads(printed("analyze-waves", path, "--json"))["fits"][0]["a"] == pytest.approx(0, abs=0.01)


def test_the_command_names_a_file_that_is_no_trace(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(SchemaError, match=r"is no trace of torch\.profiler"):
        printed("analyze-waves", str(tmp_path / "t.json"))
