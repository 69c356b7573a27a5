"""The cut network is the masked dense one, and a faithful copy in everything else."""

from __future__ import annotations

import copy

import pytest
import torch
from channel_oracle import call, doubled, random_plan, whole_plan, worst_difference
from channel_situations import SITUATIONS, conv, image
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from tailor.channels import build, cut, full_plan, trace
from tailor.errors import CutError

torch.set_num_threads(1)

EXACT = [name for name, situation in sorted(SITUATIONS.items()) if situation.mixing == "pin"]


@pytest.mark.parametrize("name", EXACT)
def test_cut_equals_masked_dense_in_float64(name: str) -> None:
    model, example = SITUATIONS[name].model_and_input
    graph = trace(model, example)
    for seed in range(4):
        plan = random_plan(graph, seed)
        cut(model, graph, plan, seed=seed)
        assert worst_difference(model, graph, plan, example, seed) < 1e-11


def test_a_chain_cut_by_hand() -> None:
    model, example = SITUATIONS["plain_chain"].model_and_input
    graph = trace(model, example)
    twin, x = doubled(model, example, 0)
    small = build(twin, graph, whole_plan(graph, a=(1, 2, 6), b=(0, 5)))
    with torch.no_grad():
        y = torch.nn.functional.conv2d(x, twin.a.weight[[1, 2, 6]], twin.a.bias[[1, 2, 6]], padding=1)
        mean, var = twin.norm.running_mean[[1, 2, 6]], twin.norm.running_var[[1, 2, 6]]
        y = torch.nn.functional.batch_norm(y, mean, var, twin.norm.weight[[1, 2, 6]], twin.norm.bias[[1, 2, 6]]).relu()
        y = torch.nn.functional.conv2d(y, twin.b.weight[[0, 5]][:, [1, 2, 6]], twin.b.bias[[0, 5]], padding=1).relu()
        y = torch.nn.functional.conv2d(y, twin.head.weight[:, [0, 5]], twin.head.bias)
    assert torch.allclose(call(small, x)[0], y, rtol=1e-10, atol=1e-12)


def test_concat_offsets_by_hand() -> None:
    model, example = SITUATIONS["concat"].model_and_input
    graph = trace(model, example)
    small = build(model, graph, whole_plan(graph, a=(0, 3), b=(2, 4, 5)))
    assert torch.equal(small.head.weight, model.head.weight[:, [2, 4, 5, 6, 9]])  # b comes first, six wide
    assert torch.equal(small.norm.weight, model.norm.weight[[2, 4, 5, 6, 9]])


def test_flatten_by_hand() -> None:
    model, example = SITUATIONS["flatten_to_linear"].model_and_input
    graph = trace(model, example)
    small = build(model, graph, whole_plan(graph, a=(1, 4)))
    assert torch.equal(small.fc.weight, model.fc.weight.reshape(7, 6, 16)[:, [1, 4]].reshape(7, 32))


def test_blocks_of_a_grouped_convolution_keep_equal_counts() -> None:
    model, example = SITUATIONS["grouped"].model_and_input
    graph = trace(model, example)
    small = build(model, graph, whole_plan(graph, a=(0, 2), grouped=(1,)))
    assert (small.grouped.groups, small.grouped.in_channels, small.grouped.out_channels) == (4, 8, 4)
    assert torch.equal(small.grouped.weight, model.grouped.weight[[1, 3, 5, 7]][:, [0, 2]])
    assert torch.equal(small.a.weight, model.a.weight[[0, 2, 3, 5, 6, 8, 9, 11]])


def test_zero_padding_follows_the_cut() -> None:
    model, example = SITUATIONS["zero_padded_shortcut"].model_and_input
    graph = trace(model, example)
    plan = whole_plan(graph, **{"one.b": (1,), "stem": (0, 5), "two.b": (0, 2, 3)})
    small = cut(model, graph, plan)
    assert torch.equal(small.one.b.weight, model.one.b.weight[[1, 3, 8, 10]])  # 1 and 10 mirror each other
    assert small.two.b.out_channels == 2 + 2 * 1 + 2 * 3


def test_mixing_norms_are_recomputed_over_the_kept() -> None:
    model, example = SITUATIONS["layer_norm_to_be_cut"].model_and_input
    graph = trace(model, example, mixing="cut")
    twin, x = doubled(model, example, 1)
    small = build(twin, graph, whole_plan(graph, a=(0, 3, 4)))
    assert small.norm.norm.normalized_shape == (3,)
    with torch.no_grad():
        y = torch.nn.functional.conv2d(x, twin.a.weight[[0, 3, 4]], twin.a.bias[[0, 3, 4]], padding=1)
        y = (y - y.mean(1, keepdim=True)) / (y.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
        y = y * twin.norm.norm.weight[[0, 3, 4], None, None] + twin.norm.norm.bias[[0, 3, 4], None, None]
        y = torch.nn.functional.conv2d(y, twin.b.weight[:, [0, 3, 4]], twin.b.bias, padding=1).relu()
        y = twin.head(y)
    assert torch.allclose(call(small, x)[0], y, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["layer_norm_to_be_cut", "group_norm_to_be_cut"])
def test_mixing_norms_pass_the_proof(name: str) -> None:
    model, example = SITUATIONS[name].model_and_input
    graph = trace(model, example, mixing="cut")
    assert any(group.mixing is not None for group in graph.prunable)  # what fails the proof would be pinned
    for seed in range(3):
        plan = random_plan(graph, seed)
        small = cut(model, graph, plan, seed=seed)  # raises where the proof fails
        assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())


def test_the_full_plan_changes_nothing() -> None:
    model, example = SITUATIONS["residual_stream"].model_and_input
    model.eval()
    graph = trace(model, example)
    whole = cut(model, graph, full_plan(graph))
    assert whole is not model
    assert torch.equal(call(whole, example)[0], call(model, example)[0])
    assert all(a is not b for a, b in zip(whole.parameters(), model.parameters(), strict=True))


def test_flags_modes_layout_and_types_survive() -> None:
    model, example = SITUATIONS["channels_last"].model_and_input
    model.a.weight.requires_grad_(False)
    model.norm.eval()
    graph = trace(model, example)
    small = cut(model, graph, whole_plan(graph, a=(0, 1, 4), b=(2, 3)))
    assert [p.requires_grad for p in small.parameters()] == [p.requires_grad for p in model.parameters()]
    assert [m.training for m in small.modules()] == [m.training for m in model.modules()]
    assert small.b.weight.is_contiguous(memory_format=torch.channels_last)
    assert type(small.a.weight) is nn.Parameter
    assert type(small.norm.running_mean) is torch.Tensor
    half, example = SITUATIONS["half_precision_weights"].model_and_input
    graph = trace(half, example)
    assert {p.dtype for p in cut(half, graph, random_plan(graph, 0)).parameters()} == {torch.bfloat16}


def test_numbers_in_the_modules_follow() -> None:
    model, example = SITUATIONS["learned_scale"].model_and_input
    graph = trace(model, example)
    small = build(model, graph, whole_plan(graph, a=(1, 2, 7)))
    assert (small.a.out_channels, small.act.num_parameters, small.head.in_channels) == (3, 3, 3)
    assert small.scale.gain.shape == (3, 1, 1)
    normed, example = SITUATIONS["group_norm_to_be_cut"].model_and_input
    graph = trace(normed, example, mixing="cut")
    norm = build(normed, graph, whole_plan(graph, a=(1,))).norm
    assert (norm.num_groups, norm.num_channels) == (4, 4)
    single, example = SITUATIONS["group_norm_of_single_channels"].model_and_input
    graph = trace(single, example)
    norm = build(single, graph, whole_plan(graph, a=(1, 3, 6))).norm
    assert (norm.num_groups, norm.num_channels) == (3, 3)
    batch, example = SITUATIONS["plain_chain"].model_and_input
    graph = trace(batch, example)
    assert build(batch, graph, whole_plan(graph, a=(3,))).norm.num_features == 1


def test_shared_weights_stay_shared() -> None:
    model, example = SITUATIONS["tied_weights"].model_and_input
    graph = trace(model, example)
    small = build(model, graph, whole_plan(graph, a=(0, 4)))
    assert small.a.weight is small.b.weight
    assert len(list(small.parameters())) == len(list(model.parameters()))


def test_hooks_survive_and_belong_to_the_copy() -> None:
    model, example = SITUATIONS["plain_chain"].model_and_input
    seen: list[nn.Module] = []
    model.a.register_forward_hook(lambda module, args, out: seen.append(module))
    graph = trace(model, example)
    small = cut(model, graph, whole_plan(graph, a=(0, 1)))
    seen.clear()
    small(example)
    assert seen == [small.a]
    assert not model.norm._forward_pre_hooks  # none of ours is left behind
    assert not small.norm._forward_pre_hooks


def test_a_cut_network_can_be_traced_and_cut_again() -> None:
    model, example = SITUATIONS["depthwise"].model_and_input
    graph = trace(model, example)
    small = cut(model, graph, whole_plan(graph, a=(0, 3, 4, 6)))
    again = trace(small, example)
    assert again["a"].width == 4
    smaller = cut(small, again, whole_plan(again, a=(1, 2)))
    directly = build(model, graph, whole_plan(graph, a=(3, 4)))
    assert all(torch.equal(a, b) for a, b in zip(smaller.parameters(), directly.parameters(), strict=True))


def test_training_the_cut_network_leaves_the_dense_one_alone() -> None:
    model, example = SITUATIONS["plain_chain"].model_and_input
    graph = trace(model, example)
    before = copy.deepcopy(model.state_dict())
    small = cut(model, graph, whole_plan(graph, a=(0, 1, 2)))
    small.train()(example).square().mean().backward()
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.sub_(parameter.grad)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_model_that_cannot_be_copied_says_so() -> None:
    net = nn.Sequential(conv(3, 4), conv(4, 2))
    net.lines = (line for line in "ab")  # type: ignore[assignment]
    with pytest.raises(CutError, match="cannot be copied"):
        trace(net, image())


# random networks: any composition of situations, cut at random, is exact


class RandomNet(nn.Module):
    """A stem and random blocks over a stream of channels; what a block does is told by its name."""

    def __init__(self, width: int, blocks: list[tuple[str, int]]) -> None:
        super().__init__()
        self.stem, self.blocks = conv(3, width), nn.ModuleList()
        self.kinds = [kind for kind, _ in blocks]
        for kind, inner in blocks:
            width = self._add(kind, width, inner)
        self.head = nn.Linear(width, 3)

    def _add(self, kind: str, width: int, inner: int) -> int:
        narrow = {"residual": width, "padded": width + 3, "plain": inner, "concat": inner, "up": inner}
        pair = (conv(width, 2 * inner), conv(2 * inner, 2 * width, groups=2), conv(2 * width, width))
        make = {
            "depthwise": lambda: nn.Sequential(conv(width, width, groups=width), nn.BatchNorm2d(width)),
            "gate": lambda: nn.Sequential(nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, width), nn.Sigmoid()),
            "grouped": lambda: nn.Sequential(*pair),
            "split": lambda: nn.Sequential(conv(width, 2 * inner), conv(inner, width)),
            "spatial": lambda: conv(width, 1),
            "up": lambda: nn.ConvTranspose2d(width, inner, 2, stride=2),
        }
        out = narrow.get(kind, width)
        default = nn.Sequential(conv(width, inner), nn.BatchNorm2d(inner), nn.ReLU(), conv(inner, out))
        self.blocks.append(make[kind]() if kind in make else default)
        return out + width if kind == "concat" else out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for kind, block in zip(self.kinds, self.blocks, strict=True):
            x = self._step(kind, block, x)
        return self.head(x.mean((2, 3)))

    def _step(self, kind: str, block: nn.Module, x: torch.Tensor) -> torch.Tensor:
        if kind == "gate":
            return x * block(x.mean((2, 3)))[:, :, None, None]
        if kind == "spatial":
            return x * block(x).sigmoid()
        if kind == "split":
            one, other = block[0](x).chunk(2, dim=1)
            return block[1](one * other.sigmoid())
        y = block(x)
        if kind == "concat":
            return torch.cat([x, y], dim=1)
        if kind == "padded":
            missing = y.shape[1] - x.shape[1]
            return y + nn.functional.pad(x, (0, 0, 0, 0, missing // 2, missing - missing // 2))
        return x + y if kind == "residual" else y


KINDS = ["plain", "residual", "concat", "depthwise", "gate", "grouped", "split", "spatial", "padded", "up"]


@given(
    width=st.integers(2, 5),
    blocks=st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 5)), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_random_networks_cut_at_random_are_exact(width: int, blocks: list[tuple[str, int]], seed: int) -> None:
    torch.manual_seed(seed)
    model, example = RandomNet(width, blocks), image(size=4)
    graph = trace(model, example)
    assert not [group.pinned for group in graph.pinned if "channel count" in (group.pinned or "")]
    plan = random_plan(graph, seed)
    small = cut(model, graph, plan)
    assert worst_difference(model, graph, plan, example, seed) < 1e-10
    assert graph.parameters(plan.widths) == sum(p.numel() for p in small.parameters())
