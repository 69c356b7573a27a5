"""A slow second opinion: the law of surgery in float64 with plain loops, sharing no code with the proof."""

from __future__ import annotations

import copy
import random
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from tailor.channels import build
from tailor.spec import ChannelGraph, KeepPlan


def random_plan(graph: ChannelGraph, seed: int) -> KeepPlan:
    """Any allowed number of any units of every group."""
    rng = random.Random(seed)
    kept = {}
    for group in graph.groups:
        widths = [width for width in range(1, group.width + 1) if group.allows(width)]
        kept[group.name] = tuple(sorted(rng.sample(range(group.width), rng.choice(widths))))
    return KeepPlan(fingerprint=graph.fingerprint, kept=kept)


def whole_plan(graph: ChannelGraph, **kept: tuple[int, ...]) -> KeepPlan:
    """Everything, but for the groups given."""
    whole = {group.name: tuple(range(group.width)) for group in graph.groups}
    return KeepPlan(fingerprint=graph.fingerprint, kept=whole | kept)


def doubled(model: nn.Module, example: Any, seed: int) -> tuple[nn.Module, Any]:
    """A float64 copy in which every number is random, and a float64 input."""
    twin = copy.deepcopy(model).double().eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
        for name, buffer in twin.named_buffers():
            if buffer.is_floating_point():
                buffer.copy_(torch.rand_like(buffer) + 0.5 if name.endswith("var") else torch.randn_like(buffer))

    def renew(leaf: Any) -> Any:
        return torch.randn(leaf.shape, dtype=torch.float64) if isinstance(leaf, Tensor) else leaf

    return twin, tree_map(renew, example)


def call(model: nn.Module, example: Any) -> list[Tensor]:
    """The float64 tensors that a model returns, in order."""
    with torch.no_grad():
        if isinstance(example, dict):
            out = model(**example)
        else:
            out = model(*example) if isinstance(example, tuple) else model(example)
    return leaves(out)


def leaves(out: Any) -> list[Tensor]:
    if isinstance(out, Tensor):
        return [out]
    if isinstance(out, dict):
        return [tensor for part in out.values() for tensor in leaves(part)]
    if isinstance(out, (tuple, list)):
        return [tensor for part in out for tensor in leaves(part)]
    return [tensor for part in vars(out).values() for tensor in leaves(part)] if hasattr(out, "__dict__") else []


def masked(model: nn.Module, graph: ChannelGraph, plan: KeepPlan) -> nn.Module:
    """A copy whose consumers' weights are zeroed, one removed channel after the other."""
    reference = copy.deepcopy(model)
    tensors = dict(reference.named_parameters())
    for group in graph.groups:
        removed = set(range(group.width)) - set(plan.kept[group.name])
        for slot in group.slots:
            for unit in removed if slot.role == "in" else ():
                for position in slot.indices[unit].tolist():
                    with torch.no_grad():
                        tensors[slot.path].select(slot.dim, position).zero_()
    return reference


def worst_difference(model: nn.Module, graph: ChannelGraph, plan: KeepPlan, example: Any, seed: int = 0) -> float:
    """How far the cut network is from the masked dense one, relative to the largest output."""
    twin, inputs = doubled(model, example, seed)
    want = call(masked(twin, graph, plan), inputs)
    have = call(build(twin, graph, plan), inputs)
    assert want
    assert [w.shape for w in want] == [h.shape for h in have]
    return max(float((w - h).abs().max() / w.abs().max().clamp_min(1e-30)) for w, h in zip(want, have, strict=True))


def counted_macs(model: nn.Module, example: Any) -> int:
    """Multiply-accumulates of one sample, counted by hooks on every convolution and linear layer."""
    total = 0

    def count(module: Any, args: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal total
        per_output = module.weight[0].numel()
        rows = args[0] if isinstance(module, nn.modules.conv._ConvTransposeNd) else out
        total += rows.numel() * per_output

    layers = (nn.Linear, nn.modules.conv._ConvNd)
    handles = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, layers)]
    call(model, example)
    for handle in handles:
        handle.remove()
    return total // leaves(example)[0].shape[0]
