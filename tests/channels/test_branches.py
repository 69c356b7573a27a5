"""A removed residual branch: the cut network is the dense one whose branch says zero, and nothing of it is left."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from channel_oracle import call, counted_macs, doubled, masked, random_plan
from torch import Tensor, nn

from tailor import persist
from tailor.channels import build, cut, full_plan, trace
from tailor.channels.nothing import Gone, Nothing
from tailor.errors import CutError, ProofError
from tailor.models import load_model
from tailor.models.resnet import ResNet
from tailor.spec import Branch, ChannelGraph, KeepPlan

torch.set_num_threads(1)


class PreActivation(nn.Module):
    """Norm and activation first, the shortcut behind them where the shape changes (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.project = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(x))
        shortcut = x if self.project is None else self.project(out)
        out = self.conv2(F.relu_(self.bn2(self.conv1(out))))
        out += shortcut
        return out


class Gated(nn.Module):
    """A gate inside the branch and a learned scale behind it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(width, 6, 1), nn.BatchNorm2d(6), nn.Conv2d(6, width, 3, padding=1)
        self.squeeze, self.excite = nn.Conv2d(6, 4, 1), nn.Conv2d(4, 6, 1)
        self.scale = nn.Parameter(torch.ones(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu6(self.norm(self.a(x)))
        out = out * torch.sigmoid(self.excite(F.relu(self.squeeze(out.mean((2, 3), keepdim=True)))))
        return torch.add(x, self.b(out) * self.scale)


def preactivation() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), PreActivation(8, 8), PreActivation(8, 12), PreActivation(12, 12),
                         nn.Conv2d(12, 4, 1))


def gated() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), Gated(8), nn.ReLU(inplace=True), Gated(8), nn.Conv2d(8, 4, 1))


def timm_resnet(block: type[nn.Module]) -> nn.Module:
    return timm.models.resnet.ResNet(block, (1, 2, 1, 1), num_classes=4, channels=(8, 12, 16, 24), stem_width=8)


# networks, their input size, and the module that each branch ends with
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, str]] = {
    "basic blocks, in-place addition and ReLU": (lambda: timm_resnet(timm.models.resnet.BasicBlock), 32, "bn2"),
    "bottlenecks": (lambda: timm_resnet(timm.models.resnet.Bottleneck), 32, "bn3"),
    "padded shortcuts": (lambda: load_model("tailor/resnet20-cifar10"), 16, "bn2"),
    "projections": (lambda: ResNet((1, 2, 1, 1), width=0.25), 16, "bn2"),
    "inverted residuals": (lambda: torchvision.models.mobilenet_v2(num_classes=4, width_mult=0.35), 32, "conv"),
    "gates": (lambda: torchvision.models.mobilenet_v3_small(num_classes=4), 32, "block"),
    "norm first": (preactivation, 8, "conv2"),
    "gate and scale in the code": (gated, 8, "b"),
}
SMALL = ("padded shortcuts", "norm first", "gate and scale in the code")


def made(name: str) -> tuple[nn.Module, Tensor, ChannelGraph]:
    maker, size, _ = NETWORKS[name]
    torch.manual_seed(0)
    model, x = maker().eval(), torch.randn(1, 3, size, size)
    return model, x, trace(model, x, depth=True)


def without(graph: ChannelGraph, plan: KeepPlan, branches: list[Branch]) -> KeepPlan:
    lost = {group: () for branch in branches for group in branch.groups}
    return KeepPlan(fingerprint=graph.fingerprint, kept={**plan.kept, **lost})


def silenced(model: nn.Module, graph: ChannelGraph, plan: KeepPlan, last: str) -> nn.Module:
    """A copy masked as the oracle does it, in which the last module of every removed branch says zero."""
    reference = masked(model, graph, plan)
    for branch in graph.branches:
        if all(not plan.kept[group] for group in branch.groups):
            end = reference.get_submodule(f"{branch.name}.{last}")
            end.register_forward_hook(lambda module, args, out: torch.zeros_like(out))
    return reference


@pytest.mark.parametrize("name", NETWORKS)
def test_the_cut_network_is_the_dense_one_whose_branches_say_zero(name: str) -> None:
    model, x, graph = made(name)
    assert graph.removable
    assert not [branch.pinned for branch in graph.branches if branch.pinned]
    every = list(graph.removable)
    for seed, lost in enumerate((every, every[1::2])):
        plan = without(graph, random_plan(graph, seed), lost)
        twin, inputs = doubled(model, x, seed)
        want, have = (call(net, inputs)[0] for net in (silenced(twin, graph, plan, NETWORKS[name][2]),
                                                      build(twin, graph, plan)))
        assert float((want - have).abs().max() / want.abs().max()) < 1e-10
        if seed == 0:
            small = cut(model, graph, plan)
            assert graph.parameters(plan.widths) == sum(p.numel() for p in small.parameters())
            assert graph.macs(plan.widths) == counted_macs(small, x)


@pytest.mark.parametrize("name", SMALL)
def test_nothing_of_a_removed_branch_is_left(name: str) -> None:
    model, x, graph = made(name)
    small = cut(model, graph, without(graph, full_plan(graph), list(graph.removable)))
    ran: list[nn.Module] = []
    for module in small.modules():
        module.register_forward_hook(lambda module, args, out: ran.append(module))
    call(small, x)
    for branch in graph.removable:
        assert not [key for key in small.state_dict() if key.startswith(tuple(f"{m}." for m in branch.modules))]
        assert not branch.tensors.intersection(small.state_dict())
    left = [module for module in small.modules() if isinstance(module, nn.Conv2d)]
    assert [module for module in ran if isinstance(module, nn.Conv2d)] == left
    assert all(isinstance(small.get_submodule(m), Gone) for branch in graph.removable for m in branch.modules)


def test_a_removed_branch_neither_changes_its_input_nor_breaks_training() -> None:
    model, _, graph = made("basic blocks, in-place addition and ReLU")
    small = cut(model, graph, without(graph, full_plan(graph), list(graph.removable)))
    assert small.layer2[1].act2.inplace
    y = torch.randn(2, 12, 4, 4)
    before = y.clone()
    small.layer2[1].eval()(y)
    assert torch.equal(y, before)
    small.train()(torch.randn(2, 3, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in small.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_saved_is_loaded(name: str, tmp_path: Path) -> None:
    model, x, graph = made(name)
    plan = without(graph, random_plan(graph, 3), list(graph.removable)[::2])
    small = cut(model, graph, plan)
    persist.save(small, tmp_path)
    again = persist.restore(copy.deepcopy(model), tmp_path)
    assert list(again.state_dict()) == list(small.state_dict())
    assert torch.equal(call(again, x)[0], call(small, x)[0])


def test_a_network_without_branches_can_be_cut_again() -> None:
    model, x, graph = made("padded shortcuts")
    small = cut(model, graph, without(graph, full_plan(graph), list(graph.removable)[1:]))
    again = trace(small, x, depth=True)
    assert [branch.name for branch in again.branches] == ["layer1.0"]
    least = cut(small, again, without(again, full_plan(again), list(again.removable)))
    whole = cut(model, graph, without(graph, full_plan(graph), list(graph.removable)))
    assert torch.equal(call(least, x)[0], call(whole, x)[0])


def test_a_branch_goes_as_a_whole() -> None:
    _, _, graph = made("bottlenecks")
    one = graph["layer2.1.conv1"]
    with pytest.raises(CutError, match=r"branch 'layer2.1' goes as a whole: layer2.1.conv1, layer2.1.conv2"):
        graph.check(graph.dense_widths.but({one.name: 0}))
    with pytest.raises(CutError, match="group 'conv1' cannot have width 0"):
        graph.check(graph.dense_widths.but({"conv1": 0}))


def test_width_zero_has_to_be_asked_for() -> None:
    model, x, _ = made("norm first")
    graph = trace(model, x)
    assert graph.branches == ()
    assert not any(group.allows(0) for group in graph.groups)
    with pytest.raises(CutError, match="cannot have width 0"):
        build(model, graph, without(graph, full_plan(graph), list(trace(model, x, depth=True).removable)))


class Reads(nn.Module):
    """The code beside the branch needs to know what came out of it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.a, self.b = how, nn.Conv2d(8, 6, 1), nn.Conv2d(6, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        out = self.b(torch.relu(self.a(x)))
        joined: dict[str, Callable[[], Tensor]] = {
            "shape": lambda: x + out.view(*out.shape),
            "shape in training": lambda: x + (out * torch.ones(out.shape) if self.training else out),
            "weight": lambda: x + out.to(self.b.weight.dtype),
            "read twice": lambda: (x + out) * out.mean(),
            "broadcast": lambda: x.mean((2, 3), keepdim=True) + out,
            "shared": lambda: x + out + self.b(self.a(x[:, :, ::1]).sigmoid()),
        }
        return joined[self.how]()


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("shape", "the code around it needs its result"),
        ("weight", "the code around it needs its result"),
        ("shape in training", "the code around it needs its result: forward fails in training"),
        ("read twice", None),
        ("broadcast", None),
        ("shared", None),
    ],
)
def test_what_cannot_lose_its_branch_says_so_or_has_none(how: str, expected: str | None) -> None:
    model, x = nn.Sequential(nn.Conv2d(3, 8, 1), Reads(how), nn.Conv2d(8, 2, 1)).eval(), torch.randn(1, 3, 6, 6)
    graph = trace(model, x, depth=True)
    assert not graph.removable
    assert not any(group.allows(0) for group in graph.groups)
    if expected is None:
        assert graph.branches == ()
    else:
        assert str(graph.branches[0].pinned).startswith(expected)


class Nested(nn.Module):
    """A branch inside a branch, and two branches at one addition."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 6, 1)
        self.inner, self.back = nn.Sequential(nn.Conv2d(6, 4, 1), nn.ReLU(), nn.Conv2d(4, 6, 1)), nn.Conv2d(6, 8, 1)
        self.one, self.two = (nn.Sequential(nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1)) for _ in "ab")
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.body(x)
        y = y + self.inner(y)
        x = x + self.back(y)
        return self.head(self.one(x) + self.two(x))


def test_of_branches_that_exclude_each_other_one_can_go() -> None:
    model, x = Nested().eval(), torch.randn(1, 3, 6, 6)
    graph = trace(model, x, depth=True)
    told = {branch.modules[0]: branch.pinned for branch in graph.branches}
    assert told == {"inner": None, "body": "it holds another branch, 'inner'", "one": None,
                    "two": "the other operand of its addition can go"}
    cut(model, graph, without(graph, full_plan(graph), list(graph.removable)))


def test_pinned_groups_keep_their_branch() -> None:
    model, x, _ = made("norm first")
    graph = trace(model, x, depth=True, pin=("1.conv1",))
    assert graph.branches[0].pinned == "its group '1.conv1' must stay: pinned by request (1.conv1)"
    assert len(graph.removable) == 2


def test_a_wrong_branch_breaks_the_law() -> None:
    model, _, graph = made("norm first")
    first, *rest = graph.branches
    wrong = replace(graph, branches=(replace(first, addition=1), *rest))
    with pytest.raises(ProofError, match="the cut network is not the masked dense one"):
        cut(model, wrong, without(wrong, full_plan(wrong), [wrong.branches[0]]))


def test_nothing_vanishes_from_every_sum() -> None:
    x, nothing = torch.randn(2, 3), Nothing()
    for total in (x + nothing, nothing + x, torch.add(x, nothing), torch.add(nothing, x), x.add(nothing)):
        assert torch.equal(total, x)
        assert total is not x
    assert torch.equal(torch.add(nothing, x, alpha=3), 3 * x)
    y = x
    y += nothing
    assert y is x
    z = nothing
    z += x  # type: ignore[assignment]
    assert torch.equal(z, x)
    assert z is not x
    for value in (torch.relu(nothing), nothing.mean((2, 3)), x * nothing, nothing * x, F.conv2d(nothing, x), -nothing):
        assert isinstance(value, Nothing)
    with pytest.raises(AttributeError, match="removed branch has no 'shape'"):
        _ = nothing.shape
