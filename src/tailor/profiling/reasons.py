"""Asks the engine which kernels ran at the few channel counts that account for a staircase's steps."""

from __future__ import annotations

from collections.abc import Callable

from tailor.engines.bench import Bench
from tailor.engines.onednn import onednn_lines
from tailor.engines.subjects import layer_subject
from tailor.errors import MeasurementError
from tailor.latency.kernels import (
    KernelAccount,
    StepReason,
    node_account,
    onednn_account,
    step_reasons,
    telling_counts,
    unknown_account,
)
from tailor.latency.staircase import Staircase
from tailor.protocols import Device
from tailor.spec import LayerShape

__all__ = ["reasons"]

_TELLING = ("onnxruntime", "openvino")  # engines whose node times name the kernel


def reasons(
    device: Device, staircase: Staircase, axis: str, at: Callable[[int], LayerShape]
) -> tuple[StepReason, ...]:
    """Why each step of the staircase is where it is; `at` gives the layer of so many channels.

    Only a handful of layers run once more for it. A device that is no Bench tells nothing.
    """
    if not isinstance(device, Bench) or len(staircase.treads) < 2:
        return ()
    accounts = {count: _account(device, at(count), axis) for count in telling_counts(staircase)}
    return step_reasons(staircase, accounts)


def _account(bench: Bench, shape: LayerShape, axis: str) -> KernelAccount:
    target = bench.target
    subject = layer_subject(shape, target.batch_size)
    failures: tuple[type[Exception], ...] = (MeasurementError, *bench.runtime.recover)
    try:
        if target.device != "cpu":
            return unknown_account("`tailor analyze-waves` tells it on a CUDA device")
        if target.engine == "torch":
            with bench.opened():
                lines = onednn_lines(bench.prepared(subject).call)
            return onednn_account(lines, shape, axis, batch_size=target.batch_size, threads=target.threads)
        if target.engine in _TELLING:
            vectors = bench.environment().facts.get("cpu_vectors", "")
            return node_account(bench.node_times(subject, 1), shape, axis, vectors)
    except failures as error:
        return unknown_account(f"the layer did not run again ({type(error).__name__})")
    return unknown_account(f"engine {target.engine} does not name its kernels")
