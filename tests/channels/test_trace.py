"""Every situation of ordinary code is found out: its groups, its pins, its layers, and nothing of the model changes."""

from __future__ import annotations

import copy
import random
import weakref

import numpy as np
import pytest
import torch
from channel_oracle import counted_macs, random_plan, whole_plan
from channel_situations import SITUATIONS, Net, Situation, conv, image
from torch import nn

from tailor.channels import build, cut, full_plan, trace
from tailor.errors import CutError, InvalidOptionError, TraceError, UnknownNameError

torch.set_num_threads(1)


@pytest.fixture(params=sorted(SITUATIONS))
def situation(request: pytest.FixtureRequest) -> Situation:
    return SITUATIONS[request.param]


def chain(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    net, _ = SITUATIONS["plain_chain"].model_and_input
    return net


def test_groups_and_pins_are_those_of_the_situation(situation: Situation) -> None:
    model, example = situation.model_and_input
    graph = trace(model, example, mixing=situation.mixing)
    found = {group.name: (group.width, group.channels_per_unit) for group in graph.prunable}
    assert found == dict(situation.prunable)
    assert {group.name for group in graph.pinned} == set(situation.pinned)
    for name, word in situation.pinned.items():
        assert word in (graph[name].pinned or "")


def test_layers_and_costs_are_those_of_the_cut_network(situation: Situation) -> None:
    model, example = situation.model_and_input
    graph = trace(model, example, mixing=situation.mixing)
    for plan in (full_plan(graph), random_plan(graph, 1), random_plan(graph, 2)):
        small, widths = build(model, graph, plan), plan.widths
        assert graph.parameters(widths) == sum(p.numel() for p in small.parameters())
        if not hasattr(small, "decode"):  # multiplies by another module's weight, which no hook sees
            assert graph.macs(widths) == counted_macs(small, example)
        for layer in graph.layers:
            shape, module = layer.at(widths), small.get_submodule(layer.name.partition("#")[0])
            if layer.name == "encode#2":
                assert (shape.in_channels, shape.out_channels) == (module.out_features, module.in_features)
            elif isinstance(module, nn.Linear):
                assert (shape.in_channels, shape.out_channels) == (module.in_features, module.out_features)
            elif isinstance(module, nn.modules.conv._ConvNd):
                assert (shape.in_channels, shape.out_channels) == (module.in_channels, module.out_channels)
                assert shape.groups == module.groups
                assert shape.kernel == module.kernel_size
                assert shape.stride == module.stride


def test_the_model_and_the_world_are_left_as_they_were(situation: Situation) -> None:
    model, example = situation.model_and_input
    model.train()
    next(model.children()).eval()
    modes = [module.training for module in model.modules()]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tensors = {name: id(tensor) for name, tensor in model.named_parameters()}
    numbers = [repr(vars(module)) for module in model.modules() if not list(module.children())]
    threads, draws = torch.get_num_threads(), (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].sum())

    with torch.enable_grad():
        graph = trace(model, example, mixing=situation.mixing)
        cut(model, graph, random_plan(graph, 0))
        assert torch.is_grad_enabled()

    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    assert {name: id(tensor) for name, tensor in model.named_parameters()} == tensors
    assert [repr(vars(module)) for module in model.modules() if not list(module.children())] == numbers
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), draws[0])
    assert (random.getstate(), np.random.get_state()[1].sum()) == draws[1:]


def test_the_fingerprint_is_the_same_for_the_same_network_and_no_other() -> None:
    first, again = trace(chain(), image()), trace(chain(seed=5), image(), seed=3)
    assert first.fingerprint == again.fingerprint
    several = [trace(*situation.model_and_input).fingerprint for situation in list(SITUATIONS.values())[:9]]
    assert len(set(several)) == 9
    deeper = Net(chain()._forward, a=conv(3, 9), norm=nn.BatchNorm2d(9), b=conv(9, 6), head=conv(6, 4, 1))
    assert trace(deeper, image()).fingerprint != first.fingerprint
    pinned = trace(chain(), image(), pin=["a"])
    assert pinned.fingerprint == first.fingerprint  # a plan of the one fits the other's places


def test_a_plan_of_another_graph_is_refused() -> None:
    graph = trace(chain(), image())
    other = trace(*SITUATIONS["residual_stream"].model_and_input)
    with pytest.raises(CutError, match="another graph"):
        cut(chain(), graph, full_plan(other))
    with pytest.raises(CutError, match="another model"):
        build(SITUATIONS["residual_stream"].model_and_input[0], graph, full_plan(graph))
    wider = Net(chain()._forward, a=conv(3, 9), norm=nn.BatchNorm2d(9), b=conv(9, 6), head=conv(6, 4, 1))
    with pytest.raises(CutError, match=r"'a.weight' has shape \[9, 3, 3, 3\]"):
        build(wider, graph, full_plan(graph))


@pytest.mark.parametrize("pin", ["a", "[a]", nn.BatchNorm2d, nn.Conv2d], ids=str)
def test_pins_by_name_pattern_and_type(pin: object) -> None:
    graph = trace(chain(), image(), pin=[pin])
    if pin is nn.BatchNorm2d:
        assert graph["a"].pinned is None  # a norm produces nothing
        return
    assert "by request" in (graph["a"].pinned or "")
    assert ("by request" in (graph["b"].pinned or "")) == (pin is nn.Conv2d)
    with pytest.raises(CutError, match="pinned"):
        cut(chain(), graph, whole_plan(graph, a=(0, 1)))


def test_a_pin_that_names_nothing_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="'stem'"):
        trace(chain(), image(), pin=["stem"])


def test_bounds_are_honoured_to_the_letter() -> None:
    graph = trace(chain(), image(), min_width=3, quantum=2)
    assert [width for width in range(10) if graph["a"].allows(width)] == [4, 6, 8]
    assert dict(graph.smallest_widths) == {"a": 4, "b": 4, "head": 4}
    for kept in [(0, 1), (0, 1, 2, 3, 4), (), (1, 0, 2, 3), (0, 0, 1, 2), (0, 1, 2, 8)]:
        with pytest.raises(CutError, match="'a'"):
            cut(chain(), graph, whole_plan(graph, a=kept))
    assert cut(chain(), graph, whole_plan(graph, a=(0, 2, 5, 7))).a.out_channels == 4
    odd = trace(*SITUATIONS["transposed_convolution"].model_and_input, quantum=4)
    assert odd["up"].width == 5
    assert [width for width in range(7) if odd["up"].allows(width)] == [4, 5]  # the dense width always fits
    narrow = trace(chain(), image(), min_width=64)
    assert narrow.smallest_widths == narrow.dense_widths


@pytest.mark.parametrize("options", [{"min_width": 0}, {"quantum": 0}, {"mixing": "maybe"}, {"form": "graph"}], ids=str)
def test_meaningless_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InvalidOptionError):
        trace(chain(), image(), **options)


def test_an_input_that_the_model_refuses_is_one_line() -> None:
    with pytest.raises(TraceError, match=r"refused an example input of shape \[2, 5, 8, 8\]") as caught:
        trace(chain(), image(5))
    assert "\n" not in str(caught.value)
    with pytest.raises(TraceError, match="not str"):
        trace(chain(), "image.png")
    with pytest.raises(TraceError, match="no tensor"):
        trace(Net(lambda m, x: float(m.a(x).sum()), a=conv(3, 8)), image())


def test_a_trace_within_inference_mode_or_autocast_is_the_same() -> None:
    plain = trace(chain(), image())
    with torch.inference_mode():
        assert trace(chain(), image()).fingerprint == plain.fingerprint
        assert torch.is_inference_mode_enabled()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            graph = trace(chain(), image())
            assert torch.is_autocast_enabled("cpu")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert (graph.fingerprint, len(graph.prunable)) == (plain.fingerprint, 2)


@pytest.mark.parametrize("seed", range(4))
def test_any_seed_finds_the_same(seed: int) -> None:
    for name in ("zero_padded_shortcut", "channel_shuffle", "branches_chosen_by_softmax", "tied_autoencoder"):
        model, example = SITUATIONS[name].model_and_input
        graph = trace(model, example, seed=seed)
        assert {g.name: (g.width, g.channels_per_unit) for g in graph.prunable} == dict(SITUATIONS[name].prunable)


def test_residual_and_mixing_are_marked() -> None:
    graph = trace(*SITUATIONS["residual_stream"].model_and_input)
    assert [group.name for group in graph.groups if group.residual] == ["stem"]
    model, example = SITUATIONS["layer_norm_to_be_cut"].model_and_input
    mixed = trace(model, example, mixing="cut")
    assert {group.name: group.mixing for group in mixed.groups} == {"a": "LayerNorm norm.norm", "b": None, "head": None}


def test_a_model_that_random_numbers_break_is_proven_on_its_example() -> None:
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return m.head(m.a(x.sqrt()))

    graph = trace(Net(forward, a=conv(3, 8), head=conv(8, 4)), image().abs())
    assert [group.name for group in graph.prunable] == ["a"]


def test_a_model_that_insists_on_half_precision_is_proven_in_it() -> None:
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return m.head(m.a(x.bfloat16()).bfloat16())

    net = Net(forward, a=conv(3, 8), head=conv(8, 4)).bfloat16()
    graph = trace(net, image())
    assert [group.name for group in graph.prunable] == ["a"]
    assert cut(net, graph, whole_plan(graph, a=(1, 5))).a.weight.dtype == torch.bfloat16


def test_activations_of_a_large_batch_are_not_kept() -> None:
    made: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []

    class Spy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            alive.append(sum(known() is not None for known in made))
            x = x * 1.0
            made.append(weakref.ref(x))
            return x

    trace(nn.Sequential(conv(3, 4), *[Spy() for _ in range(12)], conv(4, 4)), image(batch=8))
    assert len(alive) >= 12
    assert max(alive) <= 2


def test_what_a_forward_does_to_its_own_state_does_not_reach_the_model() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))
            self.conv, self.seen, self.last = conv(3, 4), 0, None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            self.seen += 1
            self.last = self.conv(x)
            return self.last

    net = nn.Sequential(Counting(), conv(4, 2))
    net(image())  # leaves an activation with its history behind
    before = copy.copy(vars(net[0]))
    graph = trace(net, image())
    cut(net, graph, random_plan(graph, 0))
    assert float(net[0].calls) == 1
    assert (net[0].seen, net[0].last) == (1, before["last"])


class PicksByPosition(nn.Module):
    """Gates all channels by the fourth one, which is another channel once an earlier one is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 8, 1)
        self.classifier = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        x = x * torch.sigmoid(x[:, 3]).unsqueeze(1)
        return self.classifier(self.second(x).mean((2, 3)))


@pytest.mark.parametrize("seed", range(12))
def test_channels_picked_by_position_are_pinned_whatever_the_seed(seed: int) -> None:
    graph = trace(PicksByPosition(), torch.randn(1, 3, 8, 8), form="module", seed=seed)
    assert graph["first"].pinned is not None
    assert graph["second"].pinned is None


def test_a_bound_that_contradicts_a_pin_is_refused() -> None:
    model, example = SITUATIONS["plain_chain"].model_and_input
    with pytest.raises(InvalidOptionError, match="group 'a' is pinned at its width of 8, below the min_width of 12"):
        trace(model, example, pin=("a",), min_width=12)
    assert trace(model, example, pin=("a",), min_width=8)["a"].pinned == "pinned by request (a)"
