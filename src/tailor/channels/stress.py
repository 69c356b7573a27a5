"""A copy of a network on which nothing is trivially zero: where the law of surgery is put to the test.

Freshly made networks have biases of zero and BatchNorm statistics of (0, 1): a wrong channel would go unseen. Here
one-dimensional parameters are random and statistics near their true ones; drawn wholly at random they would let
activations explode and saturate, and a saturated output hides differences too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_map

from tailor.calling import Inputs, call_model, output_tensors, quiet
from tailor.channels.copying import duplicate, named_tensors
from tailor.errors import TraceError

__all__ = ["TOLERANCE", "Stressed", "exact", "stressed"]

TOLERANCE = 1e-3  # of the largest output; float32 noise stays below 1e-4, a wrong channel shows as 1e-1 and more
LOW_PRECISION_TOLERANCE = 5e-2  # where a model insists on its half precision

Watch = Callable[[nn.Module], AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Stressed:
    """The copy, the inputs that it accepts, what it returned for them, the noise to expect, and whether it picks.

    A network picks when values decide what it computes next (topk, nms, masks): there float noise may change all.
    """

    model: nn.Module
    inputs: Inputs
    output: Any
    tolerance: float
    picks: bool = False


def stressed(model: nn.Module, inputs: Inputs, seed: int, watch: Watch | None = None) -> Stressed:
    """A stressed copy in float32, calibrated by one run that `watch` may look at.

    It is run on random inputs of the example's shapes; where the model refuses those, or makes no finite numbers of
    them, on the example itself; where it refuses float32, in its own precision.

    Raises:
        TraceError: the model refuses the example inputs as they are, or returns no tensor.
        CutError: the model cannot be copied.
    """
    low = any(t.is_floating_point() and t.itemsize < 4 for t in named_tensors(model).values())
    trials = [(False, True), (False, False)] + [(True, False)] * low
    refused: TraceError | None = None
    for own_precision, random in trials:
        generator = torch.Generator().manual_seed(seed)
        given = inputs if own_precision else _float32(inputs) if low else inputs
        given = _random_like(given, generator) if random else given
        twin = _perturbed(model, generator, own_precision=own_precision)
        with quiet(twin), _calibrating(twin, generator), watch(twin) if watch else contextlib.nullcontext():
            try:
                output = call_model(twin, given)
            except TraceError as error:
                refused = error
                continue
        tensors = output_tensors(output)
        if not tensors:
            kind = type(output).__name__
            raise TraceError(f"the model returns no tensor ({kind}), so no cut could be proven", value=kind)
        if not random or all(bool(t.isfinite().all()) for t in tensors):
            return Stressed(twin, given, output, LOW_PRECISION_TOLERANCE if own_precision else TOLERANCE)
    raise refused if refused is not None else TraceError("the model could not be run", value=type(model).__name__)


def exact(stand: Stressed) -> Stressed:
    """The same stand for a network that picks: in double precision, unless it insists on its own."""

    def widen(leaf: Any) -> Any:
        return leaf.double() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf

    doubled = {path: _like(tensor, widen(tensor.detach())) for path, tensor in named_tensors(stand.model).items()}
    with torch.inference_mode(False), torch.no_grad():
        twin = duplicate(stand.model, doubled)
    given = Inputs(tree_map(widen, stand.inputs.args), tree_map(widen, dict(stand.inputs.kwargs)))
    with quiet(twin):
        try:
            output = call_model(twin, given)
        except TraceError:
            return replace(stand, picks=True)
    return Stressed(twin, given, output, TOLERANCE, picks=True)


def _like(tensor: Tensor, data: Tensor) -> Tensor:
    return nn.Parameter(data, requires_grad=False) if isinstance(tensor, nn.Parameter) else data


def _perturbed(model: nn.Module, generator: torch.Generator, *, own_precision: bool) -> nn.Module:
    """A copy with random small parameters; large weights are only read, so they are shared unless widened."""
    replaced: dict[str, Tensor] = {}
    with torch.inference_mode(False), torch.no_grad():
        for path, tensor in named_tensors(model).items():
            parameter = isinstance(tensor, nn.Parameter)
            data = tensor.detach()
            if data.is_floating_point() and data.itemsize < 4 and not own_precision:
                data = data.float()
            if parameter and data.is_floating_point() and _degenerate(data):
                data = data + _draw(data, 0.2, generator)
            elif data.dtype == tensor.dtype:
                data = tensor if parameter else data.clone()
            replaced[path] = nn.Parameter(data, requires_grad=False) if parameter and data is not tensor else data
        return duplicate(model, replaced)


def _degenerate(parameter: Tensor) -> bool:
    """One-dimensional (bias, affine, scale), or all zero as far as one can see."""
    return parameter.squeeze().ndim <= 1 or not bool(parameter.reshape(-1)[:4096].any())


def _draw(like: Tensor, scale: float, generator: torch.Generator) -> Tensor:
    return (torch.randn(like.shape, generator=generator) * scale).to(like)


def _float32(inputs: Inputs) -> Inputs:
    def widen(leaf: Any) -> Any:
        return leaf.float() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf

    return Inputs(tree_map(widen, inputs.args), tree_map(widen, dict(inputs.kwargs)))


def _random_like(inputs: Inputs, generator: torch.Generator) -> Inputs:
    """Floating inputs become standard normal; integer and boolean ones stay as given."""

    def fresh(leaf: Any) -> Any:
        return _draw(leaf, 1.0, generator) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf

    return Inputs(tree_map(fresh, inputs.args), tree_map(fresh, dict(inputs.kwargs)))


@contextlib.contextmanager
def _calibrating(model: nn.Module, generator: torch.Generator) -> Iterator[None]:
    """While it lasts, every norm with running statistics takes its input's, each moved by some ten percent."""

    def hook(norm: Any, args: tuple[Tensor, ...]) -> None:
        with _disable_current_modes():  # not part of the network, so nobody who watches may see it
            x = args[0].detach()
            step = max(1, round((x.numel() / x.shape[1] / 512) ** (1 / max(1, x.ndim - 2))))
            window = (slice(None), slice(None), *[slice(None, None, step)] * (x.ndim - 2))
            x = x[window].float()  # enough to estimate
            dims = [dim for dim in range(x.ndim) if dim != 1]
            variance, mean = torch.var_mean(x, dims, correction=0)
            spread = (variance.mean() + mean.var(correction=0)).clamp_min(1e-3)
            norm.running_mean.copy_(mean + _draw(mean, 0.1, generator) * spread.sqrt())
            norm.running_var.copy_(variance.clamp_min(0.1 * spread) * _draw(variance, 0.2, generator).exp())

    norms = [m for m in model.modules() if isinstance(m, _NormBase) and m.running_mean is not None]
    handles = [norm.register_forward_pre_hook(hook) for norm in norms]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
