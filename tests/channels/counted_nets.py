"""Networks with channel counts written in their Python code, as users write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from channel_situations import Net, conv, image
from torch import Tensor, nn

from counting_nets import HeResNet, ShuffleNet

Made = tuple[nn.Module, Any]


COUNTED: dict[str, Callable[[], Made]] = {}


def counted(make: Callable[[], Made]) -> Callable[[], Made]:
    """Every network here has groups that its own code pins, and that its exported graph frees."""

    def seeded() -> Made:
        torch.manual_seed(0)
        return make()

    COUNTED[make.__name__] = seeded
    return make


@counted
def he_resnet() -> Made:
    return HeResNet(width=8, depth=1), image(size=16)


@counted
def hard_coded_shuffle() -> Made:
    return ShuffleNet(half=6), image(size=16)


@counted
def moved_to_another_layout() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.a(x).view(x.shape[0], 8, *x.shape[2:]).to(memory_format=torch.channels_last)
        return m.head(m.b(x.relu()))

    return Net(forward, a=conv(3, 8), b=conv(8, 6), head=conv(6, 4)), image()


@counted
def slices_with_two_consumers() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.norm(m.a(x)).relu()
        first, rest = x[:, :3], x[:, 3:]
        return m.head(torch.cat([m.b(first), m.c(first), m.d(rest), x[:, -3:]], dim=1))

    parts = {"a": conv(3, 8), "norm": nn.BatchNorm2d(8), "b": conv(3, 4), "c": conv(3, 5), "d": conv(5, 3)}
    return Net(forward, **parts, head=conv(15, 4)), image()


@counted
def equal_numbers_that_count_something_else() -> Made:
    """Eight channels, eight rows, eight columns, kernels, pads and a scale of eight."""

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.b(m.a(x).relu())
        x = F.pad(x.view(x.shape[0], 8, 8, 8), (0, 8, 8, 0)) * 8
        return m.head(F.avg_pool2d(x, 8).view(x.shape[0], 8, 2, 2))

    return Net(forward, a=conv(3, 8), b=conv(8, 8), head=conv(8, 8)), image(size=8)


@counted
def zeros_joined() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.a(x)
        y = m.b(x)
        zeros = torch.zeros(x.shape[0], 4, x.shape[2], x.shape[3], dtype=x.dtype, device=x.device)
        return m.head((torch.cat([x, zeros], dim=1) + y).relu())

    return Net(forward, a=conv(3, 6), b=conv(6, 10), head=conv(10, 4)), image()


@counted
def split_and_flattened() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        one, two, three = m.a(x).split([2, 5, 3], dim=1)
        x = F.max_pool2d(m.b(two * m.gate(one).sigmoid()), 2)
        return m.fc(torch.cat([x.view(-1, 6 * 16), three.mean((2, 3))], dim=1))

    parts = {"a": conv(3, 10), "gate": conv(2, 5), "b": conv(5, 6), "fc": nn.Linear(99, 4)}
    return Net(forward, **parts), image()


@counted
def weights_standardised_depthwise() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.a(x)
        weight = m.dw.weight - m.dw.weight.mean((1, 2, 3), keepdim=True)
        return m.head(F.conv2d(x, weight, None, padding=1, groups=7).relu())

    return Net(forward, a=conv(3, 7), dw=conv(7, 7, groups=7, bias=False), head=conv(7, 4)), image()


@counted
def expanded_to_a_count() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.a(x)
        return m.head(x * m.gate(x).sigmoid().expand(-1, 9, -1, -1))

    return Net(forward, a=conv(3, 9), gate=conv(9, 1), head=conv(9, 4)), image()


@counted
def several_inputs_and_a_dict() -> Made:
    def forward(m: Any, x: Tensor, y: Tensor, scale: float = 1.0) -> dict[str, Tensor]:
        both = m.a(x) + m.b(y) * scale
        return {"maps": m.head(both.reshape(x.shape[0], 6, 8, 8)), "pooled": m.fc(both.mean((2, 3)))}

    net = Net(forward, a=conv(3, 6), b=conv(2, 6), head=conv(6, 4), fc=nn.Linear(6, 3))
    net.forward = net._forward.__get__(net)  # type: ignore[method-assign]  # a signature that can be read
    return net, {"x": image(), "y": image(2), "scale": 0.5}
