"""The dense network as teacher: its softened outputs are part of the pruned network's loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["distillation_loss"]


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), mean over the batch; logits [batch, classes], a scalar.

    Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network", section 2; the factor T^2 keeps the
    gradient's size independent of T, so that it can be mixed with the cross-entropy.
    """
    softened = F.log_softmax(student.float() / temperature, dim=1)
    target = F.log_softmax(teacher.float() / temperature, dim=1)
    return F.kl_div(softened, target, reduction="batchmean", log_target=True) * temperature**2
