"""Outputs agree within what a number format may change, and in what is not finite."""

from __future__ import annotations

import pytest
import torch

from tailor.engines.agreement import TOLERANCES, disagreement

GENERATOR = torch.Generator().manual_seed(0)
Y = torch.randn(4, 10, generator=GENERATOR)


@pytest.mark.parametrize("precision", list(TOLERANCES))
def test_each_precision_has_its_limit(precision: str) -> None:
    limit = TOLERANCES[precision]
    assert disagreement([Y * (1 + 0.99 * limit)], [Y], precision) is None
    complaint = disagreement([Y * (1 + 1.01 * limit)], [Y], precision)
    assert complaint is not None
    assert precision in complaint


@pytest.mark.parametrize("precision", list(TOLERANCES))
def test_zeros_and_another_networks_outputs_pass_in_no_precision(precision: str) -> None:
    assert disagreement([torch.zeros_like(Y)], [Y], precision) is not None
    assert disagreement([Y.flip(0)], [Y], precision) is not None


def test_values_that_are_not_finite_have_to_be_the_same() -> None:
    broken = Y.clone()
    broken[0, 0] = float("nan")
    assert disagreement([broken], [broken], "fp32") is None
    assert disagreement([broken], [Y], "fp32") == "output 0 has other values that are not finite than torch's"
    assert disagreement([Y], [broken], "fp32") is not None
    up, down = Y.clone(), Y.clone()
    up[0, 0], down[0, 0] = float("inf"), float("-inf")
    assert disagreement([up], [down], "fp32") is not None


def test_number_and_shapes_of_outputs_have_to_be_the_same() -> None:
    assert disagreement([Y], [Y, Y], "fp32") is not None
    assert disagreement([Y.reshape(10, 4)], [Y], "fp32") is not None
    assert disagreement([Y, Y + 1], [Y, Y], "fp32") is not None
    assert disagreement([], [], "fp32") is None


def test_other_number_types_are_compared_by_value() -> None:
    assert disagreement([Y.bfloat16()], [Y], "bf16") is None
    assert disagreement([torch.tensor([1, 2])], [torch.tensor([1, 2])], "fp32") is None
    assert disagreement([torch.zeros(3)], [torch.zeros(3)], "fp32") is None
