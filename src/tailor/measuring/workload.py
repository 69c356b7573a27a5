"""Networks whose work depends on what they find: a detector's last stages run once per region that the first propose.

Their latencies compare widths only where both networks find as much, which is worth a warning: nothing in a stopwatch
tells a wide layer from a busy one.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch import nn

from tailor.calling import as_inputs, call_model, quiet

__all__ = ["positions", "unequal_work"]

_CHANNELS: dict[type[nn.Module], int] = {nn.Linear: -1, nn.Conv1d: -2, nn.Conv2d: -3, nn.Conv3d: -4}  # batched or not
_NOISE = 1.1  # a tenth more regions is no other kind of work


def positions(model: nn.Module, example_inputs: Any) -> dict[str, int]:
    """At how many positions each convolution and linear layer is called, by its path: samples times pixels, or rows.

    Raises:
        TraceError: the model refuses the inputs.
    """
    counted: Counter[str] = Counter()

    def count(path: str, dim: int) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            given = args[0] if args else kwargs["input"]
            counted[path] += given.numel() // given.shape[dim]

        return hook

    handles = [
        module.register_forward_pre_hook(count(path, dim), with_kwargs=True)
        for path, module in model.named_modules()
        for kind, dim in _CHANNELS.items()
        if isinstance(module, kind)
    ]
    try:
        with quiet(model):
            call_model(model, as_inputs(example_inputs))
    finally:
        for handle in handles:
            handle.remove()
    return dict(counted)


def unequal_work(dense: nn.Module, narrow: nn.Module, example_inputs: Any) -> str | None:
    """Which layer of both networks runs at most unlike numbers of positions, as a sentence; None where all are alike.

    Raises:
        TraceError: one of them refuses the inputs.
    """
    own, other = positions(dense, example_inputs), positions(narrow, example_inputs)
    unlike = {
        path: (max(own[path], other[path]) + 1) / (min(own[path], other[path]) + 1) for path in own if path in other
    }
    worst = max(unlike, key=lambda path: unlike[path], default=None)
    if worst is None or unlike[worst] < _NOISE:
        return None
    return (
        f"this network's work depends on what it finds: {worst} runs at {own[worst]} positions in the dense network, "
        f"at {other[worst]} in the narrowest one, on the same inputs; latencies compare widths only where networks "
        "find as much, so give example inputs like those it will see"
    )
