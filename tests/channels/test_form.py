"""A model whose code holds channel counts is cut as its exported graph: exact, trainable, and only where it helps."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from channel_oracle import call, random_plan, whole_plan, worst_difference
from channel_situations import SITUATIONS, Net, conv, image
from counted_nets import COUNTED
from torch import Tensor, nn

from counting_nets import HeResNet
from tailor.calling import as_inputs
from tailor.channels import GraphNetwork, build, cut, network_of, trace
from tailor.channels.form import exported_form
from tailor.errors import CutError, SchemaError, TraceError
from tailor.program import Program
from tailor.serialize import decode, encode
from tailor.spec import ChannelGraph
from tailor.training import recalibrate

torch.set_num_threads(1)

TRACED: dict[str, tuple[nn.Module, Any, ChannelGraph]] = {}


def traced(name: str) -> tuple[nn.Module, Any, ChannelGraph]:
    """Traced once for all tests, which leave the model as it is; an export takes a second."""
    if name not in TRACED:
        model, example = COUNTED[name]()
        TRACED[name] = (model, example, trace(model, example))
    return TRACED[name]


def smaller(name: str, seed: int = 0) -> tuple[nn.Module, nn.Module, Any]:
    """The dense model, a random cut of it, and its example."""
    model, example, graph = traced(name)
    small = cut(model, graph, random_plan(graph, seed))
    assert isinstance(small, GraphNetwork)
    return model, small, example


@pytest.fixture(params=sorted(COUNTED))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_the_exported_graph_is_taken_and_nothing_is_held_by_the_code(name: str) -> None:
    model, _, graph = traced(name)
    assert graph.form == "exported graph"
    assert not [group.name for group in graph.pinned if "the code holds" in (group.pinned or "")]
    assert graph.prunable
    assert type(model) is not GraphNetwork


def test_cut_equals_masked_dense_in_float64(name: str) -> None:
    model, example, graph = traced(name)
    for seed in range(3):
        plan = random_plan(graph, seed)
        cut(model, graph, plan, seed=seed)
        assert worst_difference(network_of(model, graph), graph, plan, example, seed) < 1e-11


def test_costs_are_those_of_the_cut_network(name: str) -> None:
    model, _, graph = traced(name)
    plan = random_plan(graph, 1)
    assert graph.parameters(plan.widths) == sum(p.numel() for p in build(model, graph, plan).parameters())


class Named(nn.Module):
    """Has layers of unlucky names, and a channel count in its code."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names
        for name, (c_in, c_out) in zip(names, ((3, 12), (12, 12), (12, 8)), strict=True):
            self.add_module(name, nn.Conv2d(c_in, c_out, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        first, second, last = (self._modules[name] for name in self.names)
        x = F.relu(first(x))
        return last(second(x).view(x.shape[0], 12, *x.shape[2:]) + x)


def test_layers_may_be_called_as_the_network_calls_its_own_parts() -> None:
    torch.manual_seed(0)
    model = Named("plan", "program", "observer").eval()
    graph = trace(model, image())
    assert graph.form == "exported graph"
    cut(model, graph, random_plan(graph, 0))
    with pytest.raises(TraceError, match="'channel_plan' of its own") as caught:
        exported_form(Named("channel_plan", "a", "b").eval(), as_inputs(image()), "pin", 0)
    assert caught.value.value == "channel_plan"


def test_the_uncut_graph_is_the_model(name: str) -> None:
    model, example, graph = traced(name)
    network = network_of(model, graph)
    got, expected = call(network.eval(), example), call(model.eval(), example)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    assert {key: id(t) for key, t in network.named_parameters()} == {key: id(t) for key, t in model.named_parameters()}
    assert set(network.state_dict()) == set(model.state_dict())


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_any_batch_size_will_do(batch: int) -> None:
    for name in ("he_resnet", "hard_coded_shuffle", "zeros_joined"):
        _, small, example = smaller(name)
        whole = torch.randn(5, *example.shape[1:])
        with torch.no_grad():
            assert torch.allclose(small.eval()(whole[:batch]), small(whole)[:batch], atol=1e-5)


def test_another_image_size_is_refused_and_not_computed_wrongly() -> None:
    _, small, _ = smaller("he_resnet")
    with pytest.raises(TraceError, match=r"shape \[2, 3, 32, 32\]; .* traced with \[batch, 3, 16, 16\]"):
        small(image(size=32))
    with pytest.raises(TraceError, match="takes 1 inputs, not 2"):
        small(image(size=16), image(size=16))


def test_a_step_of_training_moves_weights_and_statistics_as_the_model_does() -> None:
    model, example, graph = traced("he_resnet")
    one, other = copy.deepcopy(model).train(), copy.deepcopy(network_of(model, graph)).train()
    assert isinstance(other, GraphNetwork)
    for network in (one, other):
        torch.manual_seed(3)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            network(example).square().mean().backward()
            optimizer.step()
    before = model.state_dict()
    found = other.state_dict()
    for key, a in one.state_dict().items():
        assert torch.allclose(a.float(), found[key].float(), atol=1e-6), key
        assert not torch.equal(a, before[key]) or key == "linear.bias", key


def test_the_cut_network_trains_drops_out_and_recalibrates() -> None:
    _, small, example = smaller("he_resnet")
    statistics = small.bn1.running_mean.clone()
    draws = [small.train()(example) for _ in range(2)]
    assert not torch.equal(*draws)  # dropout
    assert not torch.equal(small.bn1.running_mean, statistics)
    assert int(small.bn1.num_batches_tracked) == 2
    moved = small.bn1.running_mean.clone()
    small.eval()(example)
    assert torch.equal(small.bn1.running_mean, moved)
    recalibrate(small, [(example, torch.zeros(2))])
    with torch.no_grad():
        mean = F.conv2d(example, small.conv1.weight, padding=1).mean((0, 2, 3))
    assert torch.allclose(small.bn1.running_mean, mean, atol=1e-5)


def test_only_numbers_that_count_channels_are_counts() -> None:
    _, _, graph = traced("equal_numbers_that_count_something_else")
    assert graph.program is not None
    assert set(graph.program.counts) == {"channel_counts.view_size_1", "channel_counts.view_1_size_1"}
    small = cut(COUNTED["equal_numbers_that_count_something_else"]()[0], graph, whole_plan(graph, b=(0, 2, 3)))
    assert small.channel_counts.numbers == {"view_size_1": 3, "view_1_size_1": 3}
    assert small(image(size=8)).shape == (2, 8, 2, 2)


def test_pads_are_rewritten_by_what_they_made_up() -> None:
    model, _, graph = traced("he_resnet")
    small = build(model, graph, whole_plan(graph, **{"layers.1.conv2": (0, 3)}))
    assert small.channel_counts.numbers == {"pad_pad_4": 2, "pad_pad_5": 2, "pad_1_pad_4": 8, "pad_1_pad_5": 8}
    assert small.get_submodule("layers.1.conv2").out_channels == 8 + 2 * 2


def test_the_module_itself_is_cut_where_nothing_is_held() -> None:
    for situation in ("plain_chain", "channel_shuffle", "zero_padded_shortcut"):
        assert trace(*SITUATIONS[situation].model_and_input).form == "module"


def test_torchvisions_shufflenet_is_exact_in_either_form() -> None:
    torch.manual_seed(0)
    model, example = torchvision.models.shufflenet_v2_x0_5(num_classes=10).eval(), image(size=64, batch=1)
    assert trace(model, example).form == "module"
    network = exported_form(model, as_inputs(example), "pin", 0)
    graph = trace(network, example)
    assert graph.form == "exported graph"
    assert len(graph.program.counts) > 20
    plan = random_plan(graph, 0)
    cut(network, graph, plan)
    assert worst_difference(network, graph, plan, example, 0) < 1e-11


def test_a_cut_network_can_be_traced_and_cut_again() -> None:
    _, small, example = smaller("hard_coded_shuffle")
    graph = trace(small, example)
    assert graph.form == "exported graph"
    plan = random_plan(graph, 5)
    again = cut(small, graph, plan)
    assert worst_difference(small, graph, plan, example, 5) < 1e-11
    assert again(example).shape == small(example).shape


def test_pins_frozen_parameters_and_modes_are_kept() -> None:
    model = HeResNet(width=8, depth=1)
    model.conv1.weight.requires_grad_(False)
    model.bn1.eval()
    graph = trace(model, image(size=16), pin=["layers.1.*"])
    assert graph.form == "exported graph"
    assert "by request" in (graph["layers.1.conv1"].pinned or "")
    with pytest.raises(CutError, match="pinned"):
        build(model, graph, whole_plan(graph, **{"layers.1.conv1": (0,)}))
    small = cut(model, graph, random_plan(graph, 0))
    assert not small.conv1.weight.requires_grad
    assert small.get_parameter("layers.0.conv1.weight").requires_grad
    assert small.training
    assert not small.bn1.training
    assert small.get_submodule("layers.0.bn1").training


def test_the_module_is_kept_on_request() -> None:
    model, example = COUNTED["slices_with_two_consumers"]()
    graph = trace(model, example, form="module")
    assert graph.form == "module"
    assert type(build(model, graph, random_plan(graph, 0))) is Net


def other_in_training(m: Any, x: Tensor) -> Tensor:
    x = m.a(x)
    x = x + 1 if m.training else x
    return m.head(x.view(x.shape[0], 8, 8, 8))


def counts_its_calls(m: Any, x: Tensor) -> Tensor:
    m.calls += 1
    return m.head(m.a(x).view(x.shape[0], 8, 8, 8))


def depends_on_the_numbers(m: Any, x: Tensor) -> Tensor:
    y = m.a(x).view(x.shape[0], 8, 8, 8)
    return m.head(y if float(x.sum()) > 0 else y * 2)


def fixed_batch(m: Any, x: Tensor) -> Tensor:
    return m.head(m.a(x).view(2, 8, 8, 8))


@pytest.mark.parametrize(
    ("forward", "why"),
    [
        (other_in_training, "computes something else in training"),
        (counts_its_calls, "own state"),
        (depends_on_the_numbers, "torch.export refuses it"),
        (fixed_batch, "batch"),
    ],
)
def test_what_cannot_be_exported_stays_pinned_and_says_why(
    forward: Any, why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    net = Net(forward, a=conv(3, 8), head=conv(8, 4))
    net.register_buffer("calls", torch.zeros(()))
    graph = trace(net, image())
    assert graph.form == "module"
    assert why in (graph["a"].pinned or "")
    assert capfd.readouterr() == ("", "")  # a failing exporter prints whole graphs


def test_a_program_survives_json_and_refuses_what_is_no_arithmetic() -> None:
    model, example, graph = traced("slices_with_two_consumers")
    again = decode(encode(graph.program), Program)
    network = network_of(model, graph)
    same = GraphNetwork(again, dict(network.named_parameters()) | dict(network.named_buffers()))
    assert torch.equal(same.eval()(example), network.eval()(example))
    for name in ("aten.from_file.default", "os.system", "torchvision.nms.default", "aten.nothing.default"):
        text = encode(graph.program).replace(b"aten.relu.default", name.encode())
        with pytest.raises(SchemaError, match=name):
            GraphNetwork(decode(text, Program), dict(network.named_parameters()))
