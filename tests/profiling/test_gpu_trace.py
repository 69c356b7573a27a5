"""A recorded trace gives launches and the GPU's limits; what is no such trace is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tailor.errors import MeasurementError, SchemaError
from tailor.latency.waves import resident_blocks
from tailor.profiling.gpu_trace import joined_traces, read_trace, trace_batches

# The fields as Kineto writes them (torch.profiler.profile.export_chrome_trace on CUDA).
DEVICE = {
    "id": 0, "name": "NVIDIA A100-SXM4-40GB", "totalGlobalMem": 42297786368, "computeMajor": 8, "computeMinor": 0,
    "maxThreadsPerBlock": 1024, "maxThreadsPerMultiprocessor": 2048, "regsPerBlock": 65536, "warpSize": 32,
    "sharedMemPerBlock": 49152, "numSms": 108, "regsPerMultiprocessor": 65536, "sharedMemPerBlockOptin": 166912,
    "sharedMemPerMultiprocessor": 167936,
}


def kernel(start: float, *, shared: int = 0, occupancy: int = 50, device: int = 0, grid: int = 432) -> dict[str, Any]:
    return {
        "ph": "X", "cat": "kernel", "name": "sm80_xmma_fprop_implicit_gemm_tf32f32_tilesize128x128x16",
        "pid": 0, "tid": 7, "ts": start, "dur": 41.5,
        "args": {
            "External id": 1, "queued": 0, "device": device, "context": 1, "stream": 7, "correlation": 3,
            "registers per thread": 122, "shared memory": shared, "blocks per SM": grid / 108, "warps per SM": 16,
            "grid": [grid, 1, 1], "block": [256, 1, 1], "est. achieved occupancy %": occupancy,
        },
    }


def written(path: Path, events: list[dict[str, Any]], device: dict[str, Any] | None = None) -> Path:
    others = [{"ph": "X", "cat": "cpu_op", "name": "aten::conv2d", "ts": 0, "dur": 9, "args": {}}]
    path.write_text(json.dumps({"deviceProperties": [device or DEVICE], "traceEvents": [*others, *events]}))
    return path


def test_launches_are_read_in_order_with_their_limits(tmp_path: Path) -> None:
    found = read_trace(written(tmp_path / "t.json", [kernel(9.0, grid=100), kernel(1.0)]))
    assert found.gpu.processors == 108
    assert found.gpu.capability == (8, 0)
    assert [each.blocks for each in found.launches] == [432, 100]
    assert found.launches[0].ns == 41_500
    assert found.launches[0].occupancy == 0.5


def test_occupancy_zero_of_a_kernel_with_much_shared_memory_is_unknown_and_recomputed(tmp_path: Path) -> None:
    found = read_trace(written(tmp_path / "t.json", [kernel(1.0, shared=73728, occupancy=0)]))
    launch = found.launches[0]
    assert launch.occupancy is None
    assert resident_blocks(launch, found.gpu) == 2


def test_compressed_traces_are_read_and_only_the_first_device_counts(tmp_path: Path) -> None:
    plain = written(tmp_path / "t.json", [kernel(1.0), kernel(2.0, device=1)])
    packed = tmp_path / "t.json.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_trace(packed) == read_trace(plain)
    assert len(read_trace(plain).launches) == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"traceEvents": [{"cat": "kernel"}]}', '{"traceEvents": 3}'])
def test_what_is_no_trace_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(SchemaError, match=r"t\.json"):
        read_trace(path)


def test_a_trace_without_cuda_kernels_says_so(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="no CUDA kernels"):
        read_trace(written(tmp_path / "t.json", []))


def test_traces_of_different_gpus_are_not_joined(tmp_path: Path) -> None:
    one = read_trace(written(tmp_path / "a.json", [kernel(1.0)]))
    other = read_trace(written(tmp_path / "b.json", [kernel(1.0)], {**DEVICE, "name": "H100", "numSms": 132}))
    assert len(joined_traces([one, one]).launches) == 2
    with pytest.raises(SchemaError, match="different GPUs"):
        joined_traces([one, other])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_network_needs_a_cuda_device() -> None:
    with pytest.raises(MeasurementError, match="give a trace file"):
        trace_batches(nn.Conv2d(3, 8, 3), torch.zeros(1, 3, 8, 8), [1, 2])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="records a trace on a CUDA device")
def test_a_network_is_traced_at_every_batch_size() -> None:
    found = trace_batches(nn.Conv2d(3, 64, 3), torch.zeros(1, 3, 64, 64), [1, 64])
    assert found.launches
    assert len({launch.grid for launch in found.launches}) > 1
