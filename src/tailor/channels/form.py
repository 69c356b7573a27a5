"""The other form of a model: its exported graph, whose channel counts can be cut, where the model's own code cannot."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from tailor.calling import FORWARD_ERRORS, Inputs, first_words, output_tensors, quiet
from tailor.channels.copying import duplicate, named_tensors
from tailor.channels.exported import program_of
from tailor.channels.grouping import groups_of
from tailor.channels.network import GraphNetwork
from tailor.channels.watching import watched
from tailor.errors import TraceError
from tailor.program import COUNTS, Program, with_fixed_counts

__all__ = ["exported_form"]

_TOLERANCE = 1e-4  # of the largest entry: the same operators on the same numbers
_LOW_PRECISION_TOLERANCE = 5e-2


def exported_form(model: nn.Module, inputs: Inputs, mixing: str, seed: int) -> GraphNetwork:
    """The model as a network of its own calls, sharing its tensors; it computes what the model does, in either mode.

    Only those numbers are channel counts that count channels in one run; every other number stays as it is.

    Raises:
        TraceError: the model cannot be exported, or its graph is not the same network; says why.
    """
    try:
        with torch.inference_mode(False):
            program = _settled(model, program_of(model, inputs), inputs, mixing, seed)
            for batch, training in ((1, False), (3, False), (3, True)):
                _compare(model, program, inputs, batch=batch, training=training)
            return GraphNetwork(program, named_tensors(model))
    except TraceError:
        raise
    except FORWARD_ERRORS as error:  # an unforeseen graph costs opportunities, never the trace
        raise TraceError(f"its graph could not be read: {first_words(error)}", value=type(model).__name__) from error


def _settled(model: nn.Module, program: Program, inputs: Inputs, mixing: str, seed: int) -> Program:
    """The program with those counts that have counted channels in one run."""
    _, run = watched(GraphNetwork(program, named_tensors(model)).eval(), inputs, mixing, seed)
    slots = [slot for group in groups_of(run.ledger) for slot in group.slots]
    return with_fixed_counts(program, frozenset(s.path for s in slots if s.path.startswith(f"{COUNTS}.")))


def _compare(model: nn.Module, program: Program, inputs: Inputs, *, batch: int, training: bool) -> None:
    """Run model and program on the same numbers with the same random state.

    Raises:
        TraceError: outputs, or the buffers afterwards, differ.
    """
    generator = torch.Generator().manual_seed(batch)
    given = Inputs(*(_varied(part, inputs.batch_size, batch, generator) for part in (inputs.args, dict(inputs.kwargs))))
    tensors = named_tensors(model)
    own = {path: t if isinstance(t, nn.Parameter) else t.clone() for path, t in tensors.items()}
    other = {path: t if isinstance(t, nn.Parameter) else t.clone() for path, t in tensors.items()}
    expected = _outputs(duplicate(model, own), given, training=training)
    got = _outputs(GraphNetwork(program, other), given, training=training)
    what = f"in {'training' if training else 'evaluation'} with a batch of {batch}"
    if [t.shape for t in got] != [t.shape for t in expected] or any(
        not _close(a, b) for a, b in zip(got, expected, strict=True)
    ):
        raise TraceError(f"its graph computes something else {what}", value=batch)
    if any(not _close(other[path].detach(), tensor.detach()) for path, tensor in own.items()):
        raise TraceError(f"its graph leaves other statistics {what}", value=batch)


def _varied(part: Any, old: int, new: int, generator: torch.Generator) -> Any:
    """Another batch size; floating-point inputs become random."""

    def vary(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        if leaf.ndim and leaf.shape[0] == old:
            leaf = leaf[torch.arange(new, device=leaf.device) % old]
        return torch.rand(leaf.shape, generator=generator).to(leaf) if leaf.is_floating_point() else leaf

    return tree_map(vary, part)


def _outputs(network: nn.Module, inputs: Inputs, *, training: bool) -> list[Tensor]:
    with quiet(network):
        network.train(training)
        torch.manual_seed(0)
        try:
            return [tensor.detach() for tensor in output_tensors(network(*inputs.args, **inputs.kwargs))]
        except FORWARD_ERRORS as error:
            mode = "training" if training else "evaluation"
            words = f"a batch of another size is refused in {mode}: {first_words(error)}"
            raise TraceError(words, value=mode) from error


def _close(one: Tensor, other: Tensor) -> bool:
    if not one.numel():
        return True
    wide = one.double() if not one.is_complex() else one
    like = other.to(wide.dtype)
    low = one.is_floating_point() and one.itemsize < 4
    bound = (_LOW_PRECISION_TOLERANCE if low else _TOLERANCE) * float(like.abs().max()) + 1e-12
    return bool(((wide - like).abs() <= bound).all()) or bool((wide.isnan() & like.isnan()).all())
