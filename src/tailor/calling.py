"""Calling a model: what goes in, what comes out, what it may raise, and a quiet place to do it in."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from tailor.errors import TraceError

__all__ = ["FORWARD_ERRORS", "Inputs", "as_inputs", "call_model", "first_words", "output_tensors", "quiet", "seed_all"]

# What a forward can raise: caught where a failure is a finding (a model refuses its input, a cut breaks forward).
FORWARD_ERRORS = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError, ArithmeticError)


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Example inputs as the model is called: positional and by keyword."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @property
    def batch_size(self) -> int:
        """First dimension of the first tensor."""
        first = self._first
        return int(first.shape[0]) if first is not None and first.ndim else 1

    @property
    def shape(self) -> tuple[int, ...]:
        """The first tensor's shape without the batch: its last three dimensions."""
        return () if self._first is None else tuple(self._first.shape[-3:])

    @property
    def _first(self) -> Tensor | None:
        return next((leaf for leaf in tree_leaves((self.args, dict(self.kwargs))) if isinstance(leaf, Tensor)), None)


def as_inputs(example_inputs: Any) -> Inputs:
    """Read a tensor, a tuple or list of positional inputs, or a dict of keyword inputs.

    Raises:
        TraceError: for anything else, naming its type.
    """
    if isinstance(example_inputs, Inputs):
        return example_inputs
    if isinstance(example_inputs, Tensor):
        return Inputs((example_inputs,), {})
    if isinstance(example_inputs, (tuple, list)):
        return Inputs(tuple(example_inputs), {})
    if isinstance(example_inputs, Mapping):
        return Inputs((), dict(example_inputs))
    kind = type(example_inputs).__name__
    raise TraceError(f"example inputs must be a tensor, a tuple or a dict, not {kind}", value=kind)


@contextlib.contextmanager
def quiet(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients, autocast or reduced precision; everything global is put back afterwards.

    That is: modes, grad and inference mode, matrix precision, and the random states of torch, CUDA, numpy and Python.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with _random_kept(), _exact_numbers(), torch.inference_mode(False), torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def seed_all(seed: int) -> None:
    """Every source of random numbers that a forward may draw from; inside `quiet`, nobody else notices."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextlib.contextmanager
def _random_kept() -> Iterator[None]:
    """A model may draw random numbers even in evaluation; whoever seeded them shall not notice."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextlib.contextmanager
def _exact_numbers() -> Iterator[None]:
    """float32 as written: TF32 or bfloat16 inside convolutions would hide a wrong channel, or look like one."""
    precision, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = cudnn
        torch.set_float32_matmul_precision(precision)


def call_model(model: nn.Module, inputs: Inputs) -> Any:
    """Run the model.

    Raises:
        TraceError: the model refused the inputs; the message gives their shapes and the model's first words.
    """
    try:
        return model(*inputs.args, **inputs.kwargs)
    except FORWARD_ERRORS as error:
        leaves = tree_leaves((inputs.args, dict(inputs.kwargs)))
        shapes = ", ".join(str(list(leaf.shape)) for leaf in leaves if isinstance(leaf, Tensor))
        raise TraceError(
            f"the model refused an example input of shape {shapes}: {first_words(error)}; "
            "give the shape it was trained on",
            value=shapes,
        ) from error


def first_words(error: BaseException) -> str:
    """The first line of an error, or its type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def output_tensors(output: Any) -> list[Tensor]:
    """The tensors that a model returns, nested in whatever: tuples, dicts, dataclasses, objects with attributes."""
    return list(_tensors_of(output, set()))


def _tensors_of(value: Any, seen: set[int]) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    if isinstance(value, (Tensor, nn.Module, type, str, bytes, int, float)) or callable(value) or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Mapping):
        parts: list[Any] = list(value.values())
    elif isinstance(value, (list, tuple, set, frozenset)):
        parts = list(value)
    else:
        slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
        names = dict.fromkeys([*slots, *getattr(value, "__dict__", ())])
        parts = [getattr(value, name) for name in names if hasattr(value, name)]
    for part in parts:
        yield from _tensors_of(part, seen)
