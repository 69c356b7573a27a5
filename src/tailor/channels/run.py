"""The one run: executes a model on its example inputs and lets every operator carry the channels' identities."""

from __future__ import annotations

import contextlib
import functools
import random
from collections import Counter
from collections.abc import Iterator, MutableMapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils.weak import WeakTensorKeyDictionary

from tailor.calling import FORWARD_ERRORS, first_words, output_tensors
from tailor.channels.copying import named_tensors
from tailor.channels.identity import Ledger, Pin, channel_vector, longest, varying
from tailor.channels.layers import LayerCall
from tailor.channels.rules import DRAWS, Call, Tracks, rule_for, tensors_in

__all__ = ["Run"]

_READ_BY_PYTHON = frozenset({"_local_scalar_dense", "is_nonzero", "equal", "item"})


@functools.cache
def _signature(func: Any) -> tuple[list[str], dict[str, Any]]:
    """Names of an operator's arguments, and their defaults."""
    arguments = func._schema.arguments
    return [a.name for a in arguments], {a.name: a.default_value for a in arguments if a.has_default_value()}


def _bound(func: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """All arguments by name."""
    names, defaults = _signature(func)
    bound: dict[str, Any] = defaults | dict(zip(names, args, strict=False)) | kwargs
    return bound


@functools.cache
def _composite(func: Any) -> bool:
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"))


def _python_dice() -> tuple[int, int]:
    """Moves when Python or numpy draws a random number."""
    keys = np.random.get_state()
    return hash(random.getstate()), hash((keys[1].tobytes(), keys[2]))  # type: ignore[index]


class Run(TorchDispatchMode):
    """Follows identities through one run; afterwards `ledger` knows every tie and `layers` every contraction."""

    def __init__(self, model: nn.Module, mixing: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ledger = Ledger()
        self.mixing = mixing
        self.layers: list[LayerCall] = []
        self._calls: Counter[str] = Counter()
        self._reads = self._late = self._rolled = False
        # Computed by the network, but nobody's channels.
        self._untracked: MutableMapping[Tensor, bool] = WeakTensorKeyDictionary()
        self._dice: tuple[int, int] | None = None
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

    def __enter__(self) -> Run:
        self._dice = self._dice or _python_dice()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        self._rolled = self._rolled or self._dice != _python_dice()
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _composite(func):  # whole only under inference mode, elsewhere PyTorch has taken it apart
            with self:
                return func.decompose(*args, **kwargs)
        out = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        self._calls[name] += 1
        if name in DRAWS or any(self._known(tensor) for tensor in tensors_in((args, kwargs))):
            self._follow(Call(name, func, _bound(func, args, kwargs), args, kwargs, out, self._calls[name]))
        return out

    def _follow(self, call: Call) -> None:
        """Apply the operator's rule, and remember that its results are the network's own, whosever they are."""
        self._late = self._late or (self._reads and any(tensor in self._paths for tensor in call.inputs))
        self._reads = self._reads or call.name in _READ_BY_PYTHON
        try:
            rule_for(call.func)(self, call)
        except FORWARD_ERRORS as error:  # an unforeseen overload or shape costs opportunities, never the trace
            for tensor in call.inputs:
                reason = f"operator {call.name} could not be followed: {first_words(error)}"
                self.ledger.pin(self.tracks(tensor), reason)
        for out in tensors_in(call.out):
            if out not in self._tracks:
                self._untracked[out] = True

    def _known(self, tensor: Tensor) -> bool:
        return tensor in self._tracks or tensor in self._paths or tensor in self._untracked

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

    @property
    def unseen(self) -> str:
        """State-dict key of the first weight that took no part, "" when all did."""
        return next((p for p, shape in self._shapes.items() if len(shape) > 1 and (p, 0) not in self._owned), "")

    @contextlib.contextmanager
    def pinning_newcomers(self, reason: str) -> Iterator[None]:
        """Inside, more is run; what meets a weight that took no part before must stay."""
        layers, owners = list(self.layers), len(self.ledger.owners)
        try:
            with self:
                yield
        finally:
            self.layers = layers
            for _, _, first, size in self.ledger.owners[owners:]:
                self.ledger.pins.insert(0, Pin(np.arange(first, first + size), reason))

    def pin_undecided(self) -> None:
        """Where Python read a value or threw dice, it may run other layers the next time: everything must stay.

        No proof can help: it sees the layers that ran. Values that are read when every layer has run harm nobody.
        """
        reason = None
        if self._reads and (self._late or self.unseen):
            reason = "the code reads values in Python (item, if, bool), which may decide what it runs"
        elif self._rolled:
            reason = "the code draws random numbers in Python, which may decide what it runs"
        if reason is not None:
            self.ledger.pins.insert(0, Pin(np.arange(1, self.ledger.count), reason))

    def pin_outputs(self, output: Any) -> None:
        """What the network returns must keep its shape."""
        for tensor in output_tensors(output):
            self.ledger.pin(self.tracks(tensor), "network output")
