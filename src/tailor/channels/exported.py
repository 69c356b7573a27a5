"""From a model to a program: what `torch.export` writes down of it, with BatchNorm and dropout following the mode.

The model is exported in eval mode, before decomposition (PyTorch's "training IR"), where `batch_norm` and `dropout`
are single calls that take the mode as an argument. Whether the program also trains as the model does is not read off
the export: `form` runs both in train mode and compares.
"""

from __future__ import annotations

import inspect
import io
import logging
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from tailor.calling import Inputs, first_words, quiet
from tailor.channels.copying import duplicate, named_tensors
from tailor.channels.reading import Reader
from tailor.errors import TraceError
from tailor.program import RESERVED, Program

__all__ = ["program_of", "unheard"]


def program_of(model: nn.Module, inputs: Inputs) -> Program:
    """The model as a program of any batch size; every number that may be a channel count is one, until it is settled.

    Raises:
        TraceError: it cannot be exported, or does what a program cannot; says what.
    """
    taken = next((name for name in RESERVED if hasattr(model, name)), None)
    if taken is not None:
        message = f"the model has an attribute {taken!r} of its own, a name that its exported graph needs; rename it"
        raise TraceError(message, value=taken)
    twin = duplicate(model, named_tensors(model))
    batch = max(2, inputs.batch_size)  # of a batch of one, the exporter would take the 1 for a constant
    given = Inputs(*(_repeated(part, inputs.batch_size, batch) for part in (inputs.args, dict(inputs.kwargs))))
    with quiet(twin), unheard():
        exported = _export(twin, given, batch)
    return Reader(model, exported).program(given)


def _repeated(part: Any, old: int, new: int) -> Any:
    def repeat(leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and leaf.ndim and leaf.shape[0] == old:
            return leaf[torch.arange(new, device=leaf.device) % old].clone()
        return leaf

    return tree_map(repeat, part)


def _export(model: nn.Module, inputs: Inputs, batch: int) -> Any:
    from torch.export import Dim, export

    def free(leaf: Any) -> Any:
        batched = isinstance(leaf, Tensor) and leaf.ndim and leaf.shape[0] == batch
        return {0: Dim.AUTO} if batched else None

    shapes = Inputs(tree_map(free, inputs.args), tree_map(free, dict(inputs.kwargs)))
    try:
        return export(model, inputs.args, dict(inputs.kwargs), dynamic_shapes=_by_name(model, shapes), strict=False)
    except Exception as error:  # the exporter raises types of its own at will
        words = textwrap.shorten(first_words(error), 200, placeholder=" ...")
        raise TraceError(f"torch.export refuses it: {words}", value=type(model).__name__) from error


def _by_name(model: nn.Module, shapes: Inputs) -> dict[str, Any]:
    """What is free of each input, under the name that the model's forward gives it."""
    named: dict[str, Any] = {}
    args, kwargs = list(shapes.args), dict(shapes.kwargs)
    for name, parameter in inspect.signature(model.forward).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            named[name], args = tuple(args), []
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            named[name], kwargs = kwargs, {}
        elif args and parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            named[name] = args.pop(0)
        elif name in kwargs:
            named[name] = kwargs.pop(name)
    return {name: value for name, value in named.items() if value not in ((), {})}


@contextmanager
def unheard() -> Iterator[None]:
    """No warnings, log lines or graphs of a failing exporter on the user's terminal."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
