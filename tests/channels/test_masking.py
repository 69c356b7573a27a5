"""A masked network says what the cut one says, and stays masked while it trains."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tailor.channels import ChannelMask, build, trace
from tailor.importance import RandomImportance, keep_plan
from tailor.models import load_model
from tailor.spec import ChannelGraph, KeepPlan


def planted(name: str) -> tuple[nn.Module, ChannelGraph, KeepPlan]:
    torch.manual_seed(0)
    model = load_model(name, num_classes=10)
    graph = trace(model.eval(), torch.randn(1, 3, 32, 32))
    widths = {g.name: g.width if g.pinned else max(g.smallest, g.width // 2 // g.quantum * g.quantum)
              for g in graph.groups}
    return model, graph, keep_plan(model, graph, widths, RandomImportance(3))


def test_the_masked_network_is_the_cut_one() -> None:
    for name in ("tailor/resnet20-cifar10", "tailor/vgg16-cifar10", "torchvision/mobilenet_v3_small"):
        model, graph, plan = planted(name)
        images = torch.randn(4, 3, 32, 32)
        with torch.no_grad():
            dense = model(images)
            cut = build(model, graph, plan).eval()(images)
            ChannelMask(model, graph, plan).apply()
            masked = model(images)
        assert torch.allclose(masked, cut, atol=1e-5 * float(cut.abs().max()))
        assert not torch.allclose(dense, cut, rtol=1e-2, atol=0.0)


def test_training_with_the_mask_applied_after_every_step_keeps_it_so() -> None:
    model, graph, plan = planted("tailor/resnet20-cifar10")
    model.train()
    mask = ChannelMask(model, graph, plan)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(model(torch.randn(8, 3, 32, 32)), torch.arange(8)).backward()
        optimizer.step()
        mask.apply()
    model.eval()
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        cut = build(model, graph, plan).eval()(images)
        assert torch.allclose(model(images), cut, atol=1e-5 * float(cut.abs().max()))


def test_hidden_weights_come_back_and_gradients_reach_them() -> None:
    model, graph, plan = planted("tailor/resnet20-cifar10")
    images = torch.randn(4, 3, 32, 32)
    before = {path: tensor.clone() for path, tensor in model.named_parameters()}
    with ChannelMask(model, graph, plan).hidden():
        hidden = model(images)
        F.cross_entropy(hidden, torch.arange(4)).backward()
    with torch.no_grad():
        cut = build(model, graph, plan).eval()(images)
    assert torch.allclose(hidden, cut, atol=1e-5 * float(cut.abs().max()))
    for path, parameter in model.named_parameters():
        assert torch.equal(parameter, before[path]), path
    group = next(group for group in graph.prunable if not group.residual)
    slot = next(slot for slot in group.slots if slot.role == "in")
    gone = sorted(set(range(group.width)) - set(plan.kept[group.name]))
    gradient = dict(model.named_parameters())[slot.path].grad
    assert gradient is not None
    assert gradient.index_select(slot.dim, torch.tensor(slot.indices[gone].ravel())).abs().sum() > 0


def test_a_whole_plan_masks_nothing() -> None:
    model, graph, _ = planted("tailor/resnet20-cifar10")
    before = {path: tensor.clone() for path, tensor in model.state_dict().items()}
    whole = {group.name: tuple(range(group.width)) for group in graph.groups}
    ChannelMask(model, graph, KeepPlan(fingerprint=graph.fingerprint, kept=whole)).apply()
    assert all(torch.equal(before[path], tensor) for path, tensor in model.state_dict().items())
