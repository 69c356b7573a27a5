"""Work that depends on what a network finds is told; work that only widths change is not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tailor.measuring.workload import positions, unequal_work
from tiny_net import make

X = torch.zeros(2, 3, 32, 32)


class Picking(nn.Module):
    """Looks closer at the pixels that a first layer finds, as a detector's second stage does."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.score = nn.Conv2d(3, 1, 1)
        self.closer = nn.Linear(3, 4)
        nn.init.zeros_(self.score.weight)
        nn.init.constant_(self.score.bias, bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.closer(x.permute(0, 2, 3, 1)[self.score(x)[:, 0] > 0])
        return found


def test_positions_are_pixels_and_rows_over_all_calls() -> None:
    shared = nn.Conv2d(3, 3, 3, stride=2)
    net = nn.Sequential(shared, shared, nn.Flatten(), nn.Linear(3 * 7 * 7, 5))
    assert positions(net, X) == {"0": 2 * (32 * 32 + 15 * 15), "3": 2}
    assert not shared._forward_pre_hooks


class Unbatched(nn.Module):
    """Calls a subclass by keyword, on single images."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3)
        self.second = type("OwnConv", (nn.Conv2d,), {})(width, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.second(input=self.first(x[0]))
        return found


def test_single_images_keywords_and_subclasses_are_counted_alike_at_any_width() -> None:
    assert positions(Unbatched(8), X) == {"first": 32 * 32, "second": 30 * 30} == positions(Unbatched(2), X)


def test_a_network_that_finds_less_is_told_with_the_layer_and_both_numbers() -> None:
    said = unequal_work(Picking(1.0), Picking(-1.0), X)
    assert said is not None
    assert "closer runs at 2048 positions in the dense network, at 0 in the narrowest one" in said


def test_narrower_layers_alone_are_not_told() -> None:
    assert unequal_work(make(), make(), X) is None
    assert unequal_work(nn.Sequential(nn.Conv2d(3, 9, 3)), nn.Sequential(nn.Conv2d(3, 2, 3)), X) is None
