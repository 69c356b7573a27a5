"""PyTorch compiled by inductor with frozen weights: each subject as one graph of fixed shapes, or not at all."""

from __future__ import annotations

import functools
import importlib.metadata
import itertools
import os
import shutil
import subprocess
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch._dynamo
import torch._inductor.config
from torch import nn
from torch._dynamo.exc import TorchDynamoException

from tailor.calling import first_words, output_tensors
from tailor.engines.allocator import memory_returned
from tailor.engines.onednn import asked_about
from tailor.engines.placement import Placement
from tailor.engines.runtime import SUBJECT_ERRORS, Prepared
from tailor.engines.torch_state import numerics, torch_facts
from tailor.engines.torch_threads import torch_threads
from tailor.errors import MissingDependencyError
from tailor.spec import Target

__all__ = ["TorchCompile"]

# Dynamo's two ways of falling back without a word: errors that become eager code, and compiling anew during a call.
_NO_FALLBACK = {"suppress_errors": False, "error_on_recompile": True, "automatic_dynamic_shapes": False}
_numbers = itertools.count()


class TorchCompile:
    """A Runtime: a copy of the module compiled whole, called as a user of torch.compile would call it.

    A graph break, an operator that cannot be compiled, or a second compilation during a call is a failure of the
    subject: the time of a half compiled network belongs to no engine.
    """

    recover = SUBJECT_ERRORS

    def __init__(self, target: Target) -> None:
        """Check the target and look for a compiler.

        Raises:
            InvalidOptionError: a precision, layout or device that torch does not know.
            MeasurementError: CUDA was asked for and is not there.
            MissingDependencyError: there is no C++ compiler, which inductor needs on every device.
        """
        self.target = target
        self._placement = Placement(target)
        self._compiler = _compiler()

    def facts(self) -> Mapping[str, str]:
        """Torch's facts, and what compiles the kernels."""
        return {
            **torch_facts(self._placement.device),
            "compiled_by": "inductor, one graph, fixed shapes, frozen weights",
            "compiler": _first_line_of_version(self._compiler),
            "triton": _triton_version() if self._placement.device.type == "cuda" else "not used",
        }

    @contextmanager
    def session(self) -> Iterator[None]:
        """The target's threads and matrix precision and inductor's settings, put back afterwards."""
        with ExitStack() as stack:
            stack.callback(self._placement.clear)
            stack.enter_context(numerics(self.target.precision))
            stack.enter_context(torch_threads(self.target.threads))
            stack.enter_context(torch._inductor.config.patch(_settings(self.target.threads)))
            stack.enter_context(torch._dynamo.config.patch(_NO_FALLBACK))
            yield

    def prepare(self, module: nn.Module, inputs: tuple[Any, ...]) -> Prepared:
        """A private copy, compiled by its first call; takes seconds."""
        bound = self._placement.inputs(inputs)
        compiled, graphs = _compiled(self._placement.module(module))
        try:
            with memory_returned():
                compiled(*bound)
        except TorchDynamoException as error:
            raise RuntimeError(f"torch.compile cannot take the network whole: {first_words(error)}") from error
        if len(graphs) != 1:
            raise RuntimeError(
                f"torch.compile made {len(graphs)} graphs of the network instead of one"
                + ("; is it disabled (TORCHDYNAMO_DISABLE, TORCH_COMPILE_DISABLE)?" if not graphs else "")
            )
        call = functools.partial(compiled, *bound)
        return Prepared(
            call=call,
            outputs=lambda: output_tensors(call()),
            compiled=asked_about(call, self._placement.device),
        )

    def sync(self) -> None:
        """Wait for a CUDA device."""
        if self._placement.device.type == "cuda":
            torch.cuda.synchronize(self._placement.device)


def _compiled(module: nn.Module) -> tuple[Callable[..., Any], list[int]]:
    """The module behind torch.compile, and a list that grows by the size of every graph that is compiled for it."""
    from torch._inductor.compile_fx import compile_fx  # brings half of inductor along

    graphs: list[int] = []

    def backend(graph: Any, example_inputs: Any) -> Any:
        graphs.append(len(graph.graph.nodes))
        return compile_fx(graph, example_inputs)

    return torch.compile(_alone(module), backend=backend, fullgraph=True, dynamic=False), graphs


def _alone(module: nn.Module) -> Callable[..., Any]:
    """A function that calls the module and shares its code object with no other subject.

    Dynamo keeps what it compiled by code object. Subjects of one class share their forward's: after 8 of them it
    gives up and runs eager code, and before that every call tries the guards of those compiled earlier.
    """

    def call(*inputs: Any) -> Any:
        return module(*inputs)

    code = call.__code__.replace(co_name=f"subject_{next(_numbers)}")
    return types.FunctionType(code, call.__globals__, code.co_name, None, call.__closure__)


def _settings(threads: int) -> dict[str, Any]:
    """Inductor's settings: frozen weights, compiled in this process, so that no worker is left running while timing.

    Threads are written into the generated code; naming them keeps caches on disk from mixing them up.
    """
    return {"freezing": True, "compile_threads": 1, "cpp.threads": threads, "max_autotune": False}


def _compiler() -> str:
    """The C++ compiler that inductor would take.

    Raises:
        MissingDependencyError: there is none.
    """
    names = torch._inductor.config.cpp.cxx
    wanted = [name for name in (names if isinstance(names, (tuple, list)) else (names,)) if name is not None]
    found = next((path for path in map(shutil.which, wanted) if path is not None), None)
    if found is None:
        listed = ", ".join(wanted)
        raise MissingDependencyError(
            f"engine torch-compile needs a C++ compiler and found no {listed}: install g++ (apt install g++), "
            "or name one in the environment variable CXX",
            value=listed,
        )
    return found


@functools.cache
def _first_line_of_version(compiler: str) -> str:
    answer = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    return (answer.stdout.strip().splitlines() or [os.path.basename(compiler)])[0]


def _triton_version() -> str:
    try:
        return importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        return "missing"
