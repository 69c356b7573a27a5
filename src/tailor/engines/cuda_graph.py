"""PyTorch's kernels recorded once as a CUDA graph and replayed: eager's work without its launches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tailor.calling import output_tensors
from tailor.engines.placement import Placement
from tailor.engines.runtime import SUBJECT_ERRORS, Prepared
from tailor.engines.torch_state import numerics, torch_facts
from tailor.errors import InvalidOptionError
from tailor.spec import Target

__all__ = ["CudaGraph"]

_WARM_UPS = 3  # cuDNN chooses its kernels and libraries make their handles: neither may happen while recording


class CudaGraph:
    """A Runtime: replays what eager torch launched, on inputs and outputs that stay where they were."""

    recover = SUBJECT_ERRORS

    def __init__(self, target: Target) -> None:
        """Check the target against this machine.

        Raises:
            InvalidOptionError: the device is not CUDA, or torch does not know the precision or layout.
            MeasurementError: there is no CUDA device here.
        """
        if not target.device.startswith("cuda"):
            raise InvalidOptionError(
                f"engine cuda-graph runs on CUDA devices, not {target.device!r}; give --device cuda, or --engine torch",
                value=target.device,
            )
        self.target = target
        self._placement = Placement(target)
        self._pool: Any = None

    def facts(self) -> Mapping[str, str]:
        """Versions and flags of torch and CUDA."""
        return torch_facts(self._placement.device)

    @contextmanager
    def session(self) -> Iterator[None]:
        """The target's matrix precision and device, and one pool of memory for the graphs of the session."""
        device = self._placement.device
        try:
            with numerics(self.target.precision), torch.cuda.device(device):
                self._pool = torch.cuda.graph_pool_handle()
                yield
        finally:
            self._pool = None
            self._placement.clear()

    def prepare(self, module: nn.Module, inputs: tuple[Any, ...]) -> Prepared:
        """A private copy on the device, run a few times on a side stream and then recorded."""
        ready, bound = self._placement.module(module), self._placement.inputs(inputs)
        self._warm_up(ready, bound)
        graph = torch.cuda.CUDAGraph()
        # Graphs of one pool write over each other's intermediate values, never over outputs that are still held; as
        # only one runs at a time, hundreds of subjects need the memory of the largest.
        with torch.cuda.graph(graph, pool=self._pool):
            kept = output_tensors(ready(*bound))

        recorded = _Recorded(graph=graph, kept=kept, held=(ready, bound))
        return Prepared(call=recorded.replay, outputs=recorded.replayed_outputs)

    def sync(self) -> None:
        """Wait for the device."""
        torch.cuda.synchronize(self._placement.device)

    def _warm_up(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        side = torch.cuda.Stream(self._placement.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self._placement.device))
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                module(*inputs)
        torch.cuda.current_stream(self._placement.device).wait_stream(side)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Recorded:
    """A graph, its outputs, and the module and inputs whose addresses it knows and which must outlive it."""

    graph: torch.cuda.CUDAGraph
    kept: list[Tensor]
    held: tuple[nn.Module, tuple[Any, ...]]

    def replay(self) -> None:
        self.graph.replay()

    def replayed_outputs(self) -> list[Tensor]:
        self.graph.replay()
        return [tensor.cpu() for tensor in self.kept]  # waits for the replay
