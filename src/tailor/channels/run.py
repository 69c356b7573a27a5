"""The one run: executes a model on its example inputs and lets every operator carry the channels' identities."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tailor.channels.identity import Ledger
from tailor.channels.rules import Call, Tracks, rule_for
from tailor.errors import TraceError

__all__ = ["FORWARD_ERRORS", "Inputs", "LayerCall", "Run", "as_inputs", "call_model", "output_tensors", "quiet"]

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
        first = next((leaf for leaf in tree_leaves((self.args, dict(self.kwargs))) if isinstance(leaf, Tensor)), None)
        return int(first.shape[0]) if first is not None and first.ndim else 1


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
    """Evaluation mode without gradients or random draws of our own; modes and random state are put back."""
    modes = [(module, module.training) for module in model.modules()]
    state = torch.get_rng_state()
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_rng_state(state)
        for module, training in modes:
            module.training = training


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
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TraceError(
            f"the model refused an example input of shape {shapes}: {words}; give the shape it was trained on",
            value=shapes,
        ) from error


def output_tensors(output: Any) -> list[Tensor]:
    """The tensors that a model returns: nested in tuples, lists, dicts, named tuples or dataclasses."""
    if isinstance(output, Tensor):
        return [output]
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        output = [getattr(output, field.name) for field in dataclasses.fields(output)]
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, (list, tuple)):
        return [tensor for part in output for tensor in output_tensors(part)]
    return []


@dataclass(frozen=True, slots=True, eq=False)
class LayerCall:
    """One execution of a convolution or linear layer: its weight, kind, and the numbers that make its shape."""

    path: str
    kind: str
    call: Call


class Run(TorchDispatchMode):
    """Follows identities through one run; afterwards `ledger` knows every tie and `layers` every contraction."""

    def __init__(self, model: nn.Module, mixing: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ledger = Ledger()
        self.mixing = mixing
        self.layers: list[LayerCall] = []
        named = [*model.named_parameters(), *model.named_buffers()]
        self._paths = {id(tensor): path for path, tensor in named}
        self._shapes = {path: tuple(tensor.shape) for path, tensor in named}
        self._derived: dict[int, str] = {}
        self._owned: dict[tuple[str, int], Tensor] = {}
        self._tracks: dict[int, Tracks] = {}
        self._alive: list[Any] = [tensor for _, tensor in named]  # an id must not be given to another tensor

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self._alive.append((args, out))
        if self._touches(args, kwargs):
            names = [argument.name for argument in func._schema.arguments]
            bound = {a.name: a.default_value for a in func._schema.arguments if a.has_default_value()}
            bound |= dict(zip(names, args, strict=False)) | kwargs
            call = Call(func.overloadpacket.__name__, func, bound, args, kwargs, out)
            rule_for(func)(self, call)
        return out

    def _touches(self, args: Any, kwargs: Any) -> bool:
        return any(self._known(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))

    def _known(self, tensor: Tensor) -> bool:
        return id(tensor) in self._tracks or id(tensor) in self._paths

    # what rules ask

    def tracks(self, tensor: Tensor | None) -> Tracks:
        """The identities of a tensor; a parameter has one track per dimension."""
        if tensor is None:
            return ()
        if id(tensor) not in self._tracks and (path := self._paths.get(id(tensor))) is not None:
            shape = tuple(tensor.shape)
            views = [[-1 if d == dim else 1 for d in range(len(shape))] for dim in range(len(shape))]
            owned = [self.owned(path, dim).reshape(view).expand(shape) for dim, view in enumerate(views)]
            self._tracks[id(tensor)] = tuple(owned)
        return self._tracks.get(id(tensor), ())

    def follow(self, tensor: Tensor, tracks: Tracks) -> None:
        """Remember whose channels a tensor holds."""
        if tracks:
            self._tracks[id(tensor)] = tracks

    def same(self, tensor: Tensor, source: Tensor) -> None:
        """`tensor` is a copy or alias of `source`: a parameter stays that parameter."""
        self.follow(tensor, self.tracks(source))
        self.derive(tensor, source)
        if tensor is not source and (path := self._paths.get(id(source))) is not None:
            self._paths[id(tensor)] = path

    def derive(self, tensor: Tensor, source: Tensor) -> None:
        """`tensor` holds the numbers of `source` in another shape."""
        if (path := self.weight_path(source)) is not None:
            self._derived[id(tensor)] = path

    def parameter(self, tensor: Tensor | None) -> str | None:
        """State-dict key of a parameter or buffer, None for anything else."""
        return None if tensor is None else self._paths.get(id(tensor))

    def weight_path(self, tensor: Tensor | None) -> str | None:
        """State-dict key of a parameter or buffer, also when it was transposed or reshaped."""
        return None if tensor is None else self._paths.get(id(tensor), self._derived.get(id(tensor)))

    def owned(self, path: str, dim: int) -> Tensor:
        """The identities of one dimension of a parameter or buffer, shape [size]."""
        if (path, dim) not in self._owned:
            self._owned[path, dim] = self.ledger.own(path, dim, self._shapes[path][dim])
        return self._owned[path, dim]

    def record_layer(self, path: str, call: Call, kind: str) -> None:
        """Remember a contraction for the list of layers."""
        self.layers.append(LayerCall(path, kind, call))

    def pin_outputs(self, output: Any) -> None:
        """What the network returns must keep its shape."""
        for tensor in output_tensors(output):
            self.ledger.pin(self.tracks(tensor), "network output")
