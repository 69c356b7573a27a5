"""Reads kernel launches and the GPU's limits from a trace that torch.profiler exported (chrome trace JSON)."""

from __future__ import annotations

import copy
import gzip
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tailor.engines.subjects import batched
from tailor.errors import MeasurementError, SchemaError
from tailor.latency.waves import Gpu, KernelLaunch

__all__ = ["GpuTrace", "joined_traces", "read_trace", "trace_batches"]

_WARMUP_CALLS, _CALLS = 3, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuTrace:
    """The kernels of one trace in the order of their start, and the GPU they ran on."""

    gpu: Gpu
    launches: tuple[KernelLaunch, ...]


def read_trace(path: Path) -> GpuTrace:
    """The launches of the first CUDA device in the trace (.json or .json.gz).

    Raises:
        SchemaError: the file is no such trace, or it holds no kernel of a CUDA device.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        content = json.loads(raw)
        devices = {int(each["id"]): _gpu(each) for each in content.get("deviceProperties", ())}
        events = [event for event in content["traceEvents"] if event.get("cat") == "kernel"]
        events.sort(key=lambda event: float(event["ts"]))
        first = min((int(event["args"]["device"]) for event in events), default=None)
        launches = tuple(_launch(event) for event in events if int(event["args"]["device"]) == first)
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, gzip.BadGzipFile) as error:
        raise SchemaError(f"{path} is no trace of torch.profiler: {error!r}", value=str(path)) from None
    if first is None or first not in devices:
        raise SchemaError(
            f"{path} holds no CUDA kernels; profile with ProfilerActivity.CUDA on a CUDA device", value=str(path)
        )
    return GpuTrace(gpu=devices[first], launches=launches)


def joined_traces(traces: Sequence[GpuTrace]) -> GpuTrace:
    """The launches of several traces of one GPU.

    Raises:
        SchemaError: they come from different GPUs, whose waves cannot be compared.
    """
    names = list(dict.fromkeys(trace.gpu.name for trace in traces))
    if any(trace.gpu != traces[0].gpu for trace in traces):
        raise SchemaError(f"the traces come from different GPUs ({', '.join(names)}); analyze them apart", value=names)
    return GpuTrace(gpu=traces[0].gpu, launches=tuple(launch for trace in traces for launch in trace.launches))


def trace_batches(model: nn.Module, example: Tensor, batches: Sequence[int]) -> GpuTrace:
    """The kernels of a copy of the network on the CUDA device at each batch size: other grids of the same kernels.

    Raises:
        MeasurementError: torch sees no CUDA device.
    """
    if not torch.cuda.is_available():
        message = "waves are counted on a CUDA device, and torch sees none here; give a trace file (.json) instead"
        raise MeasurementError(message)
    ready = copy.deepcopy(model).eval().cuda()
    traces = []
    with tempfile.TemporaryDirectory(prefix="tailor-") as folder:
        for batch in batches:
            path = Path(folder) / f"{batch}.json"
            _record(ready, batched((example,), batch)[0].cuda(), path)
            traces.append(read_trace(path))
    return joined_traces(traces)


def _record(module: nn.Module, x: Tensor, path: Path) -> None:
    """Profile a few calls after warm-up into a trace file."""
    with torch.inference_mode():
        for _ in range(_WARMUP_CALLS):
            module(x)
        torch.cuda.synchronize()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as recorded:
            for _ in range(_CALLS):
                module(x)
            torch.cuda.synchronize()
    recorded.export_chrome_trace(str(path))


def _gpu(properties: Mapping[str, Any]) -> Gpu:
    return Gpu(
        name=str(properties["name"]),
        capability=(int(properties["computeMajor"]), int(properties["computeMinor"])),
        processors=int(properties["numSms"]),
        threads=int(properties["maxThreadsPerMultiprocessor"]),
        registers=int(properties["regsPerMultiprocessor"]),
        shared_bytes=int(properties["sharedMemPerMultiprocessor"]),
    )


def _launch(event: Mapping[str, Any]) -> KernelLaunch:
    args = event["args"]
    occupancy = float(args.get("est. achieved occupancy %", 0)) / 100
    grid, block = (tuple(int(size) for size in args[name]) for name in ("grid", "block"))
    return KernelLaunch(
        kernel=str(event["name"]),
        grid=(grid[0], grid[1], grid[2]),
        block=(block[0], block[1], block[2]),
        registers=int(args["registers per thread"]),
        shared_bytes=int(args["shared memory"]),
        ns=max(1, round(1000 * float(event["dur"]))),
        occupancy=occupancy or None,
    )
