"""The one run: executes a model on its example inputs and lets every operator carry the channels' identities."""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from tailor.channels.copying import named_tensors
from tailor.channels.identity import Ledger, varying
from tailor.channels.layers import LayerCall
from tailor.channels.rules import Call, Tracks, rule_for, tensors_in
from tailor.errors import TraceError

__all__ = ["FORWARD_ERRORS", "Inputs", "Run", "as_inputs", "call_model", "first_words", "output_tensors", "quiet"]

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


@functools.cache
def _signature(func: Any) -> tuple[str, list[str], dict[str, Any]]:
    """Name of an operator, names of its arguments, and their defaults."""
    arguments = func._schema.arguments
    defaults = {a.name: a.default_value for a in arguments if a.has_default_value()}
    return func.overloadpacket.__name__, [a.name for a in arguments], defaults


@functools.cache
def _composite(func: Any) -> bool:
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"))


class Run(TorchDispatchMode):
    """Follows identities through one run; afterwards `ledger` knows every tie and `layers` every contraction."""

    def __init__(self, model: nn.Module, mixing: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ledger = Ledger()
        self.mixing = mixing
        self.layers: list[LayerCall] = []
        named = named_tensors(model)
        self._shapes = {path: tuple(tensor.shape) for path, tensor in named.items()}
        self._owned: dict[tuple[str, int], Tensor] = {}
        # Weak: activations of a large batch must be freed as the run goes on.
        self._paths: MutableMapping[Tensor, str] = WeakTensorKeyDictionary({t: path for path, t in named.items()})
        self._derived: MutableMapping[Tensor, str] = WeakTensorKeyDictionary()
        self._tracks: MutableMapping[Tensor, Tracks] = WeakTensorKeyDictionary()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nobody compiles through this mode; guarding against it costs an import of seconds and every call a third."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _composite(func):  # whole only under inference mode, elsewhere PyTorch has taken it apart
            with self:
                return func.decompose(*args, **kwargs)
        out = func(*args, **kwargs)
        if any(self._known(tensor) for tensor in tensors_in((args, kwargs))):
            name, names, defaults = _signature(func)
            bound = defaults | dict(zip(names, args, strict=False)) | kwargs
            call = Call(name, func, bound, args, kwargs, out)
            try:
                rule_for(func)(self, call)
            except FORWARD_ERRORS as error:  # an unforeseen overload or shape costs opportunities, never the trace
                for tensor in call.inputs:
                    self.ledger.pin(self.tracks(tensor), f"operator {name} could not be followed: {first_words(error)}")
        return out

    def _known(self, tensor: Tensor) -> bool:
        return tensor in self._tracks or tensor in self._paths

    # what rules ask

    def tracks(self, tensor: Tensor | None) -> Tracks:
        """The identities of a tensor; a parameter has one track per dimension."""
        if tensor is None:
            return ()
        known = self._tracks.get(tensor)
        if known is None and (path := self._paths.get(tensor)) is not None:
            shape = tuple(tensor.shape)
            views = [[-1 if d == dim else 1 for d in range(len(shape))] for dim in range(len(shape))]
            owned = [self.owned(path, dim).reshape(view).expand(shape) for dim, view in enumerate(views)]
            known = self._tracks[tensor] = tuple(owned)
        return known or ()

    def follow(self, tensor: Tensor, tracks: Tracks) -> None:
        """Remember whose channels a tensor holds."""
        if tracks:
            self._tracks[tensor] = tracks

    def same(self, tensor: Tensor, source: Tensor) -> None:
        """`tensor` is a copy or alias of `source`: a parameter stays that parameter."""
        self.follow(tensor, self.tracks(source))
        self.derive(tensor, source)
        if tensor is not source and (path := self._paths.get(source)) is not None:
            self._paths[tensor] = path

    def derive(self, tensor: Tensor, source: Tensor) -> None:
        """`tensor` holds the numbers of `source` in another shape."""
        if (path := self.weight_path(source)) is not None:
            self._derived[tensor] = path

    def parameter(self, tensor: Tensor | None) -> str | None:
        """State-dict key of a parameter or buffer, None for anything else."""
        return None if tensor is None else self._paths.get(tensor)

    def weight_path(self, tensor: Tensor | None) -> str | None:
        """State-dict key of a parameter or buffer, also when it was transposed or reshaped."""
        return None if tensor is None else self._paths.get(tensor) or self._derived.get(tensor)

    def aligned(self, tensor: Tensor) -> str | None:
        """State-dict key of a parameter that this is, element by element, whether scaled, masked or normalised."""
        path = self.weight_path(tensor)
        if path is None or path == self.parameter(tensor):
            return path
        if tuple(tensor.shape) != self._shapes[path]:
            return None
        for dim in range(tensor.ndim):
            shape = [-1 if other == dim else 1 for other in range(tensor.ndim)]
            own = self.owned(path, dim).reshape(shape).expand(tensor.shape)
            along = [track for track in self.tracks(tensor) if varying(track) == {dim}]
            if tensor.shape[dim] > 1 and not any(torch.equal(track, own) for track in along):
                return None
        return path

    def owned(self, path: str, dim: int) -> Tensor:
        """The identities of one dimension of a parameter or buffer, shape [size]."""
        if (path, dim) not in self._owned:
            self._owned[path, dim] = self.ledger.own(path, dim, self._shapes[path][dim])
        return self._owned[path, dim]

    def record_layer(self, path: str, call: Call, kind: str, axes: tuple[int, int]) -> None:
        """Remember a contraction for the list of layers; `axes` are its weight's input and output dimension."""
        self.layers.append(LayerCall.of(path, kind, call, axes))

    def pin_outputs(self, output: Any) -> None:
        """What the network returns must keep its shape."""
        for tensor in output_tensors(output):
            self.ledger.pin(self.tracks(tensor), "network output")
