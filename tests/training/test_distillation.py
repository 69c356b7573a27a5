"""The distillation loss is Hinton's formula, zero for equal outputs, and its size does not depend on T."""

import math

import pytest
import torch

from tailor.training.distillation import distillation_loss


def slow(student, teacher, temperature):
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        p = [math.exp(x / temperature) for x in t]
        q = [math.exp(x / temperature) for x in s]
        p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return temperature**2 * total / len(student)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_formula(temperature):
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(5, 7, generator=generator) for _ in range(2))
    loss = distillation_loss(student, teacher, temperature)
    assert float(loss) == pytest.approx(slow(student, teacher, temperature), rel=1e-4)


def test_equal_outputs_cost_nothing():
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert float(distillation_loss(logits, logits + 5, 3.0)) == pytest.approx(0, abs=1e-6)


def test_gradients_keep_their_size_over_temperatures():
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(64, 10, generator=generator) for _ in range(2))
    norms = []
    for temperature in (8.0, 16.0):
        leaf = student.clone().requires_grad_()
        distillation_loss(leaf, teacher, temperature).backward()
        norms.append(float(leaf.grad.norm()))
    assert norms[0] == pytest.approx(norms[1], rel=0.05)
