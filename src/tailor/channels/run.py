"""The one run: executes a model on its example inputs and lets every operator carry the channels' identities."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils.weak import WeakTensorKeyDictionary

from tailor.calling import FORWARD_ERRORS, first_words, output_tensors
from tailor.channels.copying import named_tensors
from tailor.channels.identity import Ledger, channel_vector, longest, varying
from tailor.channels.layers import LayerCall
from tailor.channels.rules import Call, Tracks, rule_for, tensors_in

__all__ = ["Run"]

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
        self._calls: Counter[str] = Counter()
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
        self._calls[func.overloadpacket.__name__] += 1
        if any(self._known(tensor) for tensor in tensors_in((args, kwargs))):
            name, names, defaults = _signature(func)
            bound = defaults | dict(zip(names, args, strict=False)) | kwargs
            call = Call(name, func, bound, args, kwargs, out, self._calls[name])
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

    def count(self, path: str, tensor: Tensor, dim: int, start: int, makes: bool) -> None:
        """The buffer at this path has one index for each of these indices of a tensor: they live and die together.

        Where a tensor has channels along several dimensions, whole rows go (see `view`), and the longest dimension
        alone can be counted. `makes` says that the code makes these channels up: they are the buffer's own.
        """
        with _disable_current_modes():
            size, tracks = self._shapes[path][0], self.tracks(tensor)
            along = [track for track in tracks if dim in varying(track) and dim == longest(track)]
            for track in along:
                vector = channel_vector(self.ledger, track.narrow(dim, start, size), dim)
                self.ledger.tie(vector, self.owned(path, 0))
            if makes and not along:
                shape = [-1 if other == dim else 1 for other in range(tensor.ndim)]
                self.follow(tensor, (*tracks, self.owned(path, 0).reshape(shape).expand(tensor.shape)))

    def record_layer(self, path: str, call: Call, kind: str, axes: tuple[int, int]) -> None:
        """Remember a contraction for the list of layers; `axes` are its weight's input and output dimension."""
        self.layers.append(LayerCall.of(path, kind, call, axes, self._shapes[path]))

    def pin_outputs(self, output: Any) -> None:
        """What the network returns must keep its shape."""
        for tensor in output_tensors(output):
            self.ledger.pin(self.tracks(tensor), "network output")
