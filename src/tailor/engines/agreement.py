"""An engine's outputs held against torch's: a latency counts only when the network that ran is the network meant."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["TOLERANCES", "disagreement"]

# Relative distance (2-norm of the difference over 2-norm of torch's fp32 output) that a number format may cause. An
# output of zeros is 1.0 away and an unrelated one 1.4: even eight bits must stay below.
TOLERANCES = {"fp32": 1e-3, "tf32": 2e-2, "fp16": 5e-2, "bf16": 2e-1, "int8": 0.7, "auto": 2e-1}


def disagreement(got: Sequence[Tensor], expected: Sequence[Tensor], precision: str) -> str | None:
    """What is wrong with an engine's outputs, in one line; None when they are torch's within the precision's tolerance.

    Infinities and NaN must stand where torch has them.
    """
    if [tuple(tensor.shape) for tensor in got] != [tuple(tensor.shape) for tensor in expected]:
        shapes = ([tuple(tensor.shape) for tensor in tensors] for tensors in (got, expected))
        return "output shapes are {}, torch's are {}".format(*shapes)
    for index, (ours, theirs) in enumerate(zip(got, expected, strict=True)):
        a, b = ours.detach().to(torch.float64).cpu(), theirs.detach().to(torch.float64).cpu()
        finite = torch.isfinite(b)
        if not torch.equal(torch.isfinite(a), finite) or not torch.equal(_signs(a[~finite]), _signs(b[~finite])):
            return f"output {index} has other values that are not finite than torch's"
        distance, size = float((a[finite] - b[finite]).norm()), float(b[finite].norm())
        limit = TOLERANCES[precision]
        if distance > limit * max(size, 1e-12):
            share = distance / max(size, 1e-12)
            return f"output {index} differs from torch's by {share:.2g} of its size, more than {precision}'s {limit:g}"
    return None


def _signs(values: Tensor) -> Tensor:
    """1 and -1 for the infinities, 0 for NaN, which would not equal itself."""
    return torch.nan_to_num(values, nan=0.0, posinf=1.0, neginf=-1.0)
