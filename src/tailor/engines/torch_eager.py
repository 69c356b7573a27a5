"""PyTorch in eager mode, on the CPU or a CUDA device."""

from __future__ import annotations

import copy
import functools
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tailor.engines.allocator import allocator_fact, memory_kept
from tailor.engines.host import available_cores, host_facts
from tailor.errors import InvalidOptionError, MeasurementError
from tailor.protocols import Subject
from tailor.records import Environment, Measurement, TimingSettings
from tailor.spec import Target
from tailor.timing import describe_failure, sample_rounds

__all__ = ["TorchEager"]

_PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

# What a model's own code may raise when it is run: its subject fails, the session goes on. RuntimeError includes
# running out of device memory.
_SUBJECT_ERRORS = (
    RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, MemoryError,
)


class TorchEager:
    """A Device (see protocols): times copies of modules side by side; the originals and torch's state stay as found."""

    def __init__(self, target: Target) -> None:
        """Check the target against this machine.

        Raises:
            InvalidOptionError: unknown precision or layout, or more threads than cores.
            MeasurementError: CUDA was asked for and is not there.
        """
        self.target = target
        for name, known in (("precision", _PRECISIONS), ("layout", _LAYOUTS)):
            value = getattr(target, name)
            if value not in known:
                raise InvalidOptionError(f"torch has no {name} {value!r}; there are {', '.join(known)}", value=value)
        if target.threads > available_cores():
            raise InvalidOptionError(
                f"{target.threads} threads on {available_cores()} cores would time the scheduler; "
                f"give at most {available_cores()}",
                value=target.threads,
            )
        self._device = _device_named(target.device)

    def environment(self) -> Environment:
        """Hardware, versions and settings, as they stand now; the whole target is part of it."""
        target = self.target
        facts = {
            **host_facts(),
            "engine": target.engine,
            "device": target.device,
            "batch_size": str(target.batch_size),
            "threads": str(target.threads),
            "precision": target.precision,
            "layout": target.layout,
            "torch": str(torch.__version__),
            "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "onednn": str(_onednn_in_use()),
            "allocator": allocator_fact(),
        }
        return Environment(facts={**facts, **(_cuda_facts(self._device) if self._device.type == "cuda" else {})})

    def measure(self, subjects: Sequence[Subject], settings: TimingSettings) -> list[Measurement]:
        """Time all subjects in one session, interleaved in shuffled rounds, in the order given.

        A subject that cannot be run or raises is a Measurement with `failure`; the session goes on with the others.

        Raises:
            InvalidOptionError: two subjects share a key.
        """
        keys = [subject.key for subject in subjects]
        if len(set(keys)) != len(keys):
            raise InvalidOptionError("subjects of one session need distinct keys", value=keys)
        environment, session = self.environment().key, uuid.uuid4().hex
        calls: dict[str, Callable[[], None]] = {}
        failures: dict[str, str] = {}
        with self._session():
            inputs: dict[int, Any] = {}
            for subject in subjects:
                try:
                    calls[subject.key] = self._prepare(subject, inputs)
                except _SUBJECT_ERRORS as error:
                    failures[subject.key] = describe_failure(error)
            samples, stopped = {}, "failed"
            if calls:
                rounds = sample_rounds(
                    calls, settings, sync=self._sync(), recover=_SUBJECT_ERRORS, busy=self._processor_time()
                )
                samples, stopped = dict(rounds.samples), rounds.stopped
                failures |= rounds.failures
        return [
            Measurement(
                subject=key,
                environment=environment,
                session=session,
                samples_ns=samples.get(key, ()),
                stopped="failed" if key in failures else stopped,
                failure=failures.get(key),
            )
            for key in keys
        ]

    def _prepare(self, subject: Subject, moved: dict[int, Any]) -> Callable[[], None]:
        """A call of a private copy on the device; inputs that subjects share are moved once."""
        module: nn.Module = copy.deepcopy(subject.module).eval()
        module = module.to(device=self._device)
        if self.target.precision != "fp32":
            module = module.to(dtype=_PRECISIONS[self.target.precision])
        if self.target.layout == "channels_last":
            module = module.to(memory_format=torch.channels_last)
        for value in subject.inputs:
            if id(value) not in moved:
                moved[id(value)] = self._move(value)
        inputs = tuple(moved[id(value)] for value in subject.inputs)
        return functools.partial(_call, module, inputs)

    def _move(self, value: Any) -> Any:
        """A copy on the device in the target's precision and layout: a model may write into its inputs."""
        if not isinstance(value, Tensor):
            return copy.deepcopy(value)
        moved = value.detach().clone().to(self._device)
        if moved.is_floating_point():
            moved = moved.to(_PRECISIONS[self.target.precision])
        if moved.ndim == 4:
            moved = moved.contiguous(memory_format=_LAYOUTS[self.target.layout])
        return moved

    def _sync(self) -> Callable[[], None] | None:
        if self._device.type != "cuda":
            return None
        return functools.partial(torch.cuda.synchronize, self._device)

    def _processor_time(self) -> Callable[[], int] | None:
        """The process's own time on the core; with several threads it says nothing about who waited for whom."""
        return time.process_time_ns if self._device.type == "cpu" and self.target.threads == 1 else None

    @contextmanager
    def _session(self) -> Iterator[None]:
        """The target's threads, no gradients, and the random state put back afterwards."""
        threads = torch.get_num_threads()
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.inference_mode(), memory_kept():
            torch.set_num_threads(self.target.threads)
            try:
                yield
            finally:
                torch.set_num_threads(threads)


def _call(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    module(*inputs)


def _device_named(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InvalidOptionError(f"torch has no device {name!r}; give cpu or cuda", value=name) from None
    if device.type not in ("cpu", "cuda"):
        raise InvalidOptionError(f"the torch engine times cpu and cuda, not {name!r}", value=name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise MeasurementError("device cuda: torch sees no CUDA device here; use --device cpu", value=name)
        index = torch.cuda.current_device() if device.index is None else device.index
        if index >= torch.cuda.device_count():
            raise MeasurementError(f"device {name}: there are {torch.cuda.device_count()} CUDA devices", value=name)
        return torch.device("cuda", index)
    return device


def _cuda_facts(device: torch.device) -> dict[str, str]:
    """What decides the speed of a CUDA device; TF32 is on by default for convolutions, so it belongs to the key."""
    properties = torch.cuda.get_device_properties(device)
    return {
        "gpu": properties.name,
        "gpu_capability": f"{properties.major}.{properties.minor}",
        "gpu_processors": str(properties.multi_processor_count),
        "gpu_memory": str(properties.total_memory),
        "driver": _driver_version(),
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        "cudnn_benchmark": str(torch.backends.cudnn.benchmark),
        "tf32_convolutions": str(torch.backends.cudnn.allow_tf32),
        "tf32_matmuls": str(torch.backends.cuda.matmul.allow_tf32),
    }


def _onednn_in_use() -> bool:
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and bool(torch.backends.mkldnn.enabled)


def _driver_version() -> str:
    """The NVIDIA driver as the kernel reports it, or "unknown"."""
    path = Path("/proc/driver/nvidia/version")
    return path.read_text(encoding="utf-8").splitlines()[0] if path.exists() else "unknown"

