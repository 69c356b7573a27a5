"""What torch computes for a subject, eagerly and in fp32: the answer that every engine has to give."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from tailor.calling import output_tensors
from tailor.engines.torch_state import numerics
from tailor.protocols import Subject
from tailor.spec import Target

__all__ = ["is_reference", "reference_outputs"]


def is_reference(target: Target) -> bool:
    """Whether the target itself is what the others are compared with."""
    return (target.engine, target.precision, target.layout) == ("torch", "fp32", "contiguous")


def reference_outputs(subject: Subject, target: Target) -> list[Tensor]:
    """Outputs of eager torch in fp32 without TF32, on the target's GPU where it has one: a large batch takes minutes on
    a CPU. Runs on copies, because a model may write into its inputs or buffers.
    """
    device = target.device if target.device.startswith("cuda") else "cpu"
    module: nn.Module = copy.deepcopy(subject.module).eval().to(device, torch.float32)
    with numerics("fp32"):
        return output_tensors(module(*(_copy(value, device) for value in subject.inputs)))


def _copy(value: Any, device: str) -> Any:
    if not isinstance(value, Tensor):
        return copy.deepcopy(value)
    copied = value.detach().clone().to(device)
    return copied.float() if copied.is_floating_point() else copied
