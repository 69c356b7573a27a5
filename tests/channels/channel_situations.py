"""Small networks, one per situation of ordinary CNN code, and what a trace must find in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from einops.layers.torch import Rearrange
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

Made = tuple[nn.Module, Any]


@dataclass(frozen=True)
class Situation:
    """A network with its example input, the widths of its prunable groups, and a word of each pinned one's reason."""

    make: Callable[[], Made]
    prunable: Mapping[str, tuple[int, int]]  # group -> (width, channels per unit)
    pinned: Mapping[str, str] = field(default_factory=dict)
    mixing: str = "pin"

    @property
    def model_and_input(self) -> Made:
        torch.manual_seed(0)
        return self.make()


SITUATIONS: dict[str, Situation] = {}


def situation(
    prunable: Mapping[str, tuple[int, int]], pinned: Mapping[str, str] | None = None, mixing: str = "pin"
) -> Callable[[Callable[[], Made]], Callable[[], Made]]:
    def register(make: Callable[[], Made]) -> Callable[[], Made]:
        SITUATIONS[make.__name__] = Situation(make, prunable, pinned or {}, mixing)
        return make

    return register


class Net(nn.Module):
    """Modules by name, and a forward given as a function of them."""

    def __init__(self, forward: Callable[..., Any], **modules: nn.Module) -> None:
        super().__init__()
        self._forward = forward
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._forward(self, *args, **kwargs)


def conv(inner: int, outer: int, kernel: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, kernel, padding=kernel // 2, **options)


def image(channels: int = 3, size: int = 8, batch: int = 2) -> Tensor:
    return torch.randn(batch, channels, size, size)


OUT = {"head": "network output"}


@situation({"a": (8, 1), "b": (6, 1)}, OUT)
def plain_chain() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(m.b(m.norm(m.a(x)).relu()).relu())

    return Net(forward, a=conv(3, 8), norm=nn.BatchNorm2d(8), b=conv(8, 6), head=conv(6, 4, 1)), image()


@situation({"stem": (8, 1), "a": (5, 1)}, OUT)
def residual_stream() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        return m.head((x + m.norm(m.b(m.a(x).relu()))).mean((2, 3)))

    parts = {"stem": conv(3, 8), "a": conv(8, 5), "b": conv(5, 8), "norm": nn.BatchNorm2d(8), "head": nn.Linear(8, 4)}
    return Net(forward, **parts), image()


@situation({"a": (4, 1), "b": (6, 1)}, OUT)
def concat() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        joined = m.norm(torch.cat([m.b(x), x.new_zeros(0), m.a(x)], dim=1))
        return m.head(joined)

    return Net(forward, a=conv(3, 4), b=conv(3, 6), norm=nn.BatchNorm2d(10), head=conv(10, 4)), image()


@situation({"a": (8, 1)}, OUT)
def depthwise() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(m.norm(m.dw(m.a(x))).relu())

    return Net(forward, a=conv(3, 8), dw=conv(8, 8, groups=8), norm=nn.BatchNorm2d(8), head=conv(8, 4, 1)), image()


@situation({"a": (6, 1)}, OUT)
def depthwise_with_multiplier() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(m.dw(m.a(x)))

    return Net(forward, a=conv(3, 6), dw=conv(6, 12, groups=6), head=conv(12, 4, 1)), image()


@situation({"a": (3, 4), "grouped": (2, 4)}, OUT)
def grouped() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(m.norm(m.grouped(m.a(x))).relu())

    parts = {"a": conv(3, 12), "grouped": conv(12, 8, groups=4), "norm": nn.BatchNorm2d(8), "head": conv(8, 4)}
    return Net(forward, **parts), image()


def shuffled(x: Tensor, groups: int) -> Tensor:
    b, c, h, w = x.shape
    return x.view(b, groups, c // groups, h, w).transpose(1, 2).reshape(b, c, h, w)


@situation({"a": (6, 2), "b": (6, 2), "c": (6, 1)}, OUT)
def channel_shuffle() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(m.c(shuffled(m.b(m.a(x)), 2)))

    parts = {"a": conv(3, 12), "b": conv(12, 12, groups=2), "c": conv(12, 6), "head": conv(6, 4)}
    return Net(forward, **parts), image()


@situation({"a": (2, 4), "left": (5, 1)}, OUT)
def shuffle_and_split() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        one, other = shuffled(m.a(x), 2).chunk(2, dim=1)
        return m.head(torch.cat([m.left(one), other], dim=1))

    return Net(forward, a=conv(3, 8), left=conv(4, 5), head=conv(9, 4)), image()


@situation({"a": (4, 2), "one": (4, 1), "two": (3, 1)}, OUT)
def chunk_with_two_consumers() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        first, second = m.a(x).chunk(2, dim=1)
        return m.head(torch.cat([m.one(first), m.two(second), second], dim=1))

    return Net(forward, a=conv(3, 8), one=conv(4, 4), two=conv(4, 3), head=conv(11, 4)), image()


@situation({"a": (8, 1), "gate_in": (3, 1)}, OUT)
def squeeze_and_excitation() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.a(x)
        gate = m.gate_out(m.gate_in(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return m.head(x * gate)

    return Net(forward, a=conv(3, 8), gate_in=conv(8, 3, 1), gate_out=conv(3, 8, 1), head=conv(8, 4)), image()


@situation({"a": (8, 1)}, {**OUT, "gate": "single channel"})
def one_channel_gate() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.a(x)
        return m.head(x * m.gate(x).sigmoid())

    return Net(forward, a=conv(3, 8), gate=conv(8, 1), head=conv(8, 4)), image()


@situation({"a": (6, 1), "fc": (7, 1)}, OUT)
def flatten_to_linear() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(m.fc(F.max_pool2d(m.a(x), 2).flatten(1)).relu())

    return Net(forward, a=conv(3, 6), fc=nn.Linear(96, 7), head=nn.Linear(7, 4)), image()


class PaddedBlock(nn.Module):
    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.a, self.b = conv(inner, outer, stride=2), conv(outer, outer)
        self.norm = nn.BatchNorm2d(outer)

    def forward(self, x: Tensor) -> Tensor:
        missing = self.b.out_channels - x.shape[1]
        short = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, missing // 2, missing - missing // 2))
        return (self.norm(self.b(self.a(x).relu())) + short).relu()


@situation({"stem": (6, 1), "one.a": (12, 1), "one.b": (3, 2), "two.a": (24, 1), "two.b": (6, 2)}, OUT)
def zero_padded_shortcut() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(m.two(m.one(m.stem(x))))

    return Net(forward, stem=conv(3, 6), one=PaddedBlock(6, 12), two=PaddedBlock(12, 24), head=conv(24, 4)), image()


@situation({"stem": (6, 1)}, OUT)
def same_convolution_twice() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(m.again(m.again(m.stem(x)).relu()))

    return Net(forward, stem=conv(3, 6), again=conv(6, 6), head=conv(6, 4)), image()


@situation({"stem": (6, 1), "a": (5, 1)}, OUT)
def tied_weights() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        return m.head(torch.cat([m.a(x), m.b(x.tanh())], dim=1))

    net = Net(forward, stem=conv(3, 6), a=conv(6, 5), b=conv(6, 5, bias=False), head=conv(10, 4))
    net.b.weight = net.a.weight
    return net, image()


class Transposed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.t())


@situation({"encode": (6, 1)}, {"encode#2": "network output"})
def tied_autoencoder() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.decode(m.encode(x).relu())

    net = Net(forward, encode=nn.Linear(9, 6), decode=Transposed())
    net.decode.weight = net.encode.weight
    return net, torch.randn(2, 9)


@situation({"a": (8, 1)}, OUT)
def frozen_parameters() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(m.a(x))

    return Net(forward, a=conv(3, 8), head=conv(8, 4)).requires_grad_(False), image()


@situation({"a": (6, 1), "up": (5, 1)}, OUT)
def transposed_convolution() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(m.up(m.a(x)).relu())

    up = nn.ConvTranspose2d(6, 5, 3, stride=2, padding=1, output_padding=1)
    return Net(forward, a=conv(3, 6), up=up, head=conv(5, 4)), image()


@situation({"a": (3, 2), "up": (4, 1)}, OUT)  # one index of its weight stands for a channel of either block
def grouped_transposed_convolution() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(m.up(m.a(x)))

    return Net(forward, a=conv(3, 6), up=nn.ConvTranspose2d(6, 8, 2, stride=2, groups=2), head=conv(8, 4)), image()


@situation({"a": (6, 1)}, OUT)
def depthwise_transposed_convolution() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(m.up(m.a(x)))

    return Net(forward, a=conv(3, 6), up=nn.ConvTranspose2d(6, 12, 2, stride=2, groups=6), head=conv(12, 4)), image()


@situation({"a": (8, 1)}, {"one": "network output", "two": "network output"})
def dict_and_tuple_output() -> Made:
    def forward(m: Any, x: Tensor) -> Any:
        x = m.a(x)
        return {"one": m.one(x), "nested": (m.two(x), [None, 3])}

    return Net(forward, a=conv(3, 8), one=conv(8, 4), two=conv(8, 5)), image()


@dataclass
class Answer:
    scores: Tensor
    note: str = "kept"


@situation({"a": (8, 1)}, OUT)
def dataclass_output() -> Made:
    return Net(lambda m, x: Answer(m.head(m.a(x))), a=conv(3, 8), head=conv(8, 4)), image()


class Holder:
    """An answer of no type that anybody knows."""

    def __init__(self, value: Tensor) -> None:
        self.value = value


@situation({"a": (8, 1)}, OUT)
def object_output() -> Made:
    return Net(lambda m, x: Holder(m.head(m.a(x))), a=conv(3, 8), head=conv(8, 4)), image()


@situation({"left": (8, 1)}, OUT)
def several_inputs() -> Made:
    def forward(m: Any, x: Tensor, y: Tensor) -> Tensor:
        return m.head(m.left(x) + m.right(y))

    return Net(forward, left=conv(3, 8), right=conv(2, 8), head=conv(8, 4)), (image(), image(2))


@situation({"left": (8, 1)}, OUT)
def keyword_inputs() -> Made:
    def forward(m: Any, *, second: Tensor, first: Tensor, scale: float = 1.0) -> Tensor:
        return m.head(m.left(first) + m.right(second) * scale)

    net = Net(forward, left=conv(3, 8), right=conv(2, 8), head=conv(8, 4))
    return net, {"first": image(), "second": image(2), "scale": 0.5}


@situation({"a": (6, 1), "out": (5, 1)}, {**OUT, "qkv": "multiplied with other activations"})
def attention_written_with_einops() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        q, k, v = rearrange(m.qkv(m.a(x).relu()), "b (t d c) h w -> t b d (h w) c", t=3, d=2).unbind(0)
        mixed = rearrange(F.scaled_dot_product_attention(q, k, v), "b d (h w) c -> b (d c) h w", h=x.shape[2])
        return reduce(m.head(m.rows(m.out(mixed))), "b n c -> b c", "mean")

    rows = Rearrange("b c h w -> b (h w) c")
    return Net(forward, a=conv(3, 6), qkv=conv(6, 24, 1), out=conv(8, 5, 1), rows=rows, head=nn.Linear(5, 4)), image()


@situation({"a": (8, 1), "b": (6, 1)}, OUT)
def halves_stacked_and_taken_apart() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        first, second = torch.stack([m.a(x), m.a(x).relu()], dim=1).unbind(1)
        return m.head(m.b(first + second) * m.scale)

    net = Net(forward, a=conv(3, 8), b=conv(8, 6), head=conv(6, 4, 1))
    net.register_buffer("scale", torch.rand(6, 1, 1) + 0.5)
    return net, image()


@situation({"a": (3, 4)}, OUT)
def pixel_shuffle() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(F.pixel_shuffle(m.a(x), 2))

    return Net(forward, a=conv(3, 12), head=conv(3, 4)), image()


class ChannelsFirstNorm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def with_norm(norm: nn.Module) -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(m.b(m.norm(m.a(x))).relu())

    return Net(forward, a=conv(3, 8), norm=norm, b=conv(8, 6), head=conv(6, 4)), image()


@situation({"b": (6, 1)}, {**OUT, "a": "LayerNorm mixes"})
def layer_norm() -> Made:
    return with_norm(ChannelsFirstNorm(8))


@situation({"b": (6, 1)}, {**OUT, "a": "GroupNorm mixes"})
def group_norm() -> Made:
    return with_norm(nn.GroupNorm(4, 8))


@situation({"a": (8, 1), "b": (6, 1)}, OUT, mixing="cut")
def layer_norm_to_be_cut() -> Made:
    return with_norm(ChannelsFirstNorm(8))


@situation({"a": (2, 4), "b": (6, 1)}, OUT, mixing="cut")
def group_norm_to_be_cut() -> Made:
    return with_norm(nn.GroupNorm(4, 8))


@situation({"a": (8, 1), "b": (6, 1)}, OUT)
def group_norm_of_single_channels() -> Made:
    return with_norm(nn.GroupNorm(8, 8))


@situation({"a": (8, 1), "b": (6, 1)}, OUT)
def instance_norm() -> Made:
    return with_norm(nn.InstanceNorm2d(8, affine=True))


@situation({"a": (8, 1)}, OUT)
def half_precision_weights() -> Made:
    made = Net(lambda m, x: m.head(m.norm(m.a(x)).relu()), a=conv(3, 8), norm=nn.BatchNorm2d(8), head=conv(8, 4))
    return made.bfloat16(), image().bfloat16()


@situation({"a": (8, 1)}, OUT)
def batch_of_one_without_norm() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.a(x)
        return m.head(torch.cat([x, x.relu()], dim=1))

    return Net(forward, a=conv(3, 8), head=conv(16, 4)), image(batch=1)


@situation({"a": (5, 1), "a#2": (3, 1), "b": (4, 1)}, OUT)  # as its exported graph
def constant_slices() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.a(x)
        return m.head(torch.cat([m.b(x[:, :3]), x[:, 3:]], dim=1))

    return Net(forward, a=conv(3, 8), b=conv(3, 4), head=conv(9, 4)), image()


@situation({"a": (6, 1), "b": (8, 1)}, OUT)  # as its exported graph
def count_written_into_the_code() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.b(m.a(x))
        return m.head(x.view(x.shape[0], 8, -1).mean(2))

    return Net(forward, a=conv(3, 6), b=conv(6, 8), head=nn.Linear(8, 4)), image()


@situation({"b": (6, 1)}, {**OUT, "a": "operator cummax has no rule"})
def unknown_operator() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(m.b(torch.cummax(m.a(x), dim=1).values))

    return Net(forward, a=conv(3, 8), b=conv(8, 6), head=conv(6, 4)), image()


@situation({}, {**OUT, "a": "as many channels", "b": "operator cummax"})
def sum_with_an_unknown() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(m.a(x) + torch.cummax(m.b(x), dim=1).values)

    return Net(forward, a=conv(3, 8), b=conv(3, 8), head=conv(8, 4)), image()


@situation({}, {"only": "network output"})
def nothing_prunable() -> Made:
    return Net(lambda m, x: m.only(x), only=conv(3, 8)), image()


@situation({"a": (8, 1)}, OUT)
def in_place_operators() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.a(x)
        x += m.b(x)
        x.mul_(0.5).clamp_(-1, 1)
        return m.head(F.relu(x, inplace=True))

    return Net(forward, a=conv(3, 8), b=conv(8, 8), head=conv(8, 4)), image()


class Scale(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((channels, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


@situation({"a": (8, 1)}, OUT)
def learned_scale() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(m.act(m.scale(m.a(x))))

    return Net(forward, a=conv(3, 8), scale=Scale(8), act=nn.PReLU(8), head=conv(8, 4)), image()


@situation({"a": (8, 1), "b": (6, 1)}, OUT)
def channels_last() -> Made:
    model, x = plain_chain()
    return model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)


@situation({"a": (8, 1), "b": (6, 1)}, OUT)
def weight_normalised() -> Made:
    model, x = plain_chain()
    weight_norm(model.a)
    weight_norm(model.b)
    return model, x


@situation({"fc": (5, 1), "a": (6, 1)}, {**OUT, "attend": "softmax over channels"})
def softmax_over_channels() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.a(x)
        weights = m.attend(x).mean((2, 3)).softmax(1)
        return m.head(torch.cat([weights, m.fc(x.mean((2, 3)))], dim=1))

    return Net(forward, a=conv(3, 6), attend=conv(6, 4), fc=nn.Linear(6, 5), head=nn.Linear(9, 4)), image()


@situation({"one": (6, 1)}, OUT)
def branches_chosen_by_softmax() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        both = torch.stack([m.one(x), m.two(x)], dim=1)
        choice = m.choose(both.sum(1).mean((2, 3))).view(x.shape[0], 2, -1).softmax(1)
        return m.head((both * choice[..., None, None]).sum(1))

    return Net(forward, one=conv(3, 6), two=conv(3, 6), choose=nn.Linear(6, 12), head=conv(6, 4)), image()


@situation({"a": (6, 1)}, OUT)
def one_dimensional() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(F.avg_pool1d(m.norm(m.a(x)), 2))

    return Net(forward, a=nn.Conv1d(3, 6, 3), norm=nn.BatchNorm1d(6), head=nn.Conv1d(6, 4, 1)), torch.randn(2, 3, 12)


@situation({"a": (6, 1)}, OUT)
def three_dimensional() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(F.adaptive_avg_pool3d(m.norm(m.a(x)), 1))

    parts = {"a": nn.Conv3d(3, 6, 3), "norm": nn.BatchNorm3d(6), "head": nn.Conv3d(6, 4, 1)}
    return Net(forward, **parts), torch.randn(2, 3, 5, 5, 5)


@situation({"a": (6, 1)}, OUT)
def interpolated() -> Made:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.a(F.max_pool2d(x, 2))
        y = F.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return m.head(F.interpolate(F.pad(y, (1, 1, 1, 1), mode="reflect"), scale_factor=2))

    return Net(forward, a=conv(3, 6), head=conv(6, 4)), image()
