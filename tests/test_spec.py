"""What a network is: costs against torch's own layers, widths and plans that refuse what does not fit."""

import dataclasses
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tailor.errors import CutError, InvalidOptionError, UnknownNameError
from tailor.spec import (
    Axis,
    ChannelGraph,
    ChannelGroup,
    KeepPlan,
    Layer,
    LayerShape,
    Slot,
    Target,
    TensorSpec,
    Widths,
    replace_groups,
)


def slot(path: str, role: str, width: int, *, dim: int = 0, per_unit: int = 1) -> Slot:
    indices = np.arange(width * per_unit, dtype=np.int64).reshape(width, per_unit)
    return Slot(path=path, dim=dim, role=role, indices=indices)


def two_convolutions(width: int = 8) -> ChannelGraph:
    """conv1 (3 -> width) -> conv2 (width -> 5, the pinned output), 3x3 on 6x6 with padding 1."""
    common = {"kind": "conv", "kernel": (3, 3), "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}
    common |= {"spatial": (6, 6)}
    return ChannelGraph(
        groups=(
            ChannelGroup(
                name="conv1",
                width=width,
                quantum=2,
                min_width=3,
                slots=(slot("conv1.weight", "out", width), slot("conv2.weight", "in", width, dim=1)),
            ),
            ChannelGroup(name="conv2", width=5, pinned="output", slots=(slot("conv2.weight", "out", 5),)),
        ),
        layers=(
            Layer(
                name="conv1",
                shape=LayerShape(in_channels=3, out_channels=width, **common),
                inputs=Axis(fixed=3),
                outputs=Axis(fixed=0, terms=(("conv1", 1),)),
            ),
            Layer(
                name="conv2",
                shape=LayerShape(in_channels=width, out_channels=5, **common),
                inputs=Axis(fixed=0, terms=(("conv1", 1),)),
                outputs=Axis(fixed=0, terms=(("conv2", 1),)),
            ),
        ),
        tensors=(
            TensorSpec(path="conv1.weight", shape=(width, 3, 3, 3), parameter=True),
            TensorSpec(path="conv2.weight", shape=(5, width, 3, 3), parameter=True),
            TensorSpec(path="steps", shape=(1,), parameter=False),
        ),
    )


@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    spatial=st.tuples(st.integers(8, 12), st.integers(8, 12)),
    groups=st.sampled_from([1, 2]),
    transposed=st.booleans(),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_output_size_and_macs_agree_with_torch(kernel, stride, padding, dilation, spatial, groups, transposed, data):
    """Two formulations: the formula, and multiplications counted by running ones through the layer."""
    extra = data.draw(st.integers(0, max(stride, dilation) - 1)) if transposed else 0
    options = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    kind = torch.nn.ConvTranspose2d if transposed else torch.nn.Conv2d
    if transposed:
        options["output_padding"] = extra
    layer = kind(4, 6, bias=False, **options)
    shape = LayerShape(
        kind="deconv" if transposed else "conv",
        in_channels=4,
        out_channels=6,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        padding=(padding, padding),
        dilation=(dilation, dilation),
        output_padding=(extra, extra) if transposed else (),
        groups=groups,
        spatial=spatial,
    )
    with torch.no_grad():
        layer.weight.fill_(1)
        output = layer(torch.ones(1, 4, *spatial))
    assert shape.output_spatial == tuple(output.shape[2:])
    if padding == 0:  # padded positions are multiplied too, but add nothing to this count
        assert shape.macs == int(output.sum())


def test_a_linear_layer_costs_its_matrix():
    assert LayerShape(kind="linear", in_channels=7, out_channels=3).macs == 21


def test_costs_fall_with_the_widths():
    graph = two_convolutions()
    dense, half = graph.dense_widths, graph.dense_widths.but({"conv1": 4})
    assert graph.macs(dense) == 36 * 9 * (3 * 8 + 8 * 5)
    assert graph.macs(half) == 36 * 9 * (3 * 4 + 4 * 5)
    assert graph.parameters(dense) == 9 * (3 * 8 + 8 * 5)
    assert graph.parameters(half) == 9 * (3 * 4 + 4 * 5)
    assert (graph.channels(dense), graph.channels(half)) == (13, 9)


def test_a_unit_that_was_flattened_costs_all_its_columns():
    """conv (3 -> 8) on 2x2, flattened to linear (32 -> 10): one unit is four of the linear layer's inputs."""
    linear = LayerShape(kind="linear", in_channels=32, out_channels=10)
    slots = (slot("conv.weight", "out", 8), slot("fc.weight", "in", 8, dim=1, per_unit=4))
    graph = ChannelGraph(
        groups=(ChannelGroup(name="conv", width=8, slots=slots),),
        layers=(Layer(name="fc", shape=linear, inputs=Axis(fixed=0, terms=(("conv", 4),)), outputs=Axis(fixed=10)),),
        tensors=(
            TensorSpec(path="conv.weight", shape=(8, 3, 1, 1), parameter=True),
            TensorSpec(path="fc.weight", shape=(10, 32), parameter=True),
        ),
    )
    assert graph.parameters({"conv": 5}) == 5 * 3 + 10 * 20
    assert graph.macs({"conv": 5}) == 10 * 20
    assert graph.channels({"conv": 5}) == 0  # linear layers have no channels to LACP


def test_a_layer_called_twice_costs_twice_and_owns_its_weights_once():
    graph = two_convolutions()
    twice = ChannelGraph(
        groups=graph.groups,
        layers=(dataclasses.replace(graph.layers[0], calls=2), graph.layers[1]),
        tensors=graph.tensors,
    )
    assert twice.macs(graph.dense_widths) - graph.macs(graph.dense_widths) == graph.layers[0].shape.macs
    assert twice.parameters(graph.dense_widths) == graph.parameters(graph.dense_widths)


def test_blocks_of_a_depthwise_layer_vanish_with_their_channels():
    shape = LayerShape(kind="conv", in_channels=8, out_channels=8, kernel=(1,), groups=8, spatial=(4,))
    axis = Axis(fixed=0, terms=(("g", 1),))
    depthwise = Layer(name="dw", shape=shape, inputs=axis, outputs=axis)
    assert depthwise.at({"g": 5}).groups == 5
    grouped = Layer(name="gr", shape=dataclasses.replace(shape, groups=2), inputs=axis, outputs=axis)
    assert not grouped.depthwise
    assert grouped.at({"g": 4}).groups == 2


def test_smallest_and_allows_agree():
    for group in (
        ChannelGroup(name="g", width=8, quantum=2, min_width=3),
        ChannelGroup(name="g", width=7, quantum=4),
        ChannelGroup(name="g", width=3, quantum=4, min_width=9),
        ChannelGroup(name="g", width=6, pinned="output"),
    ):
        allowed = [width for width in range(group.width + 3) if group.allows(width)]
        assert allowed[0] == group.smallest
        for least in range(group.width + 3):
            assert group.at_least(least) == next((width for width in allowed if width >= least), group.width)
        assert allowed[-1] == group.width
    assert [w for w in range(10) if ChannelGroup(name="g", width=7, quantum=4).allows(w)] == [4, 7]


def test_producers_and_channels_per_unit_come_from_the_slots():
    group = ChannelGroup(
        name="g",
        width=4,
        slots=(slot("a.weight", "out", 4, per_unit=3), slot("b.weight", "in", 4), slot("c.weight", "out", 4)),
    )
    assert group.producers == ("a.weight", "c.weight")
    assert group.channels_per_unit == 3
    assert ChannelGroup(name="g", width=4).channels_per_unit == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conv1": 5}, "group 'conv1' cannot have width 5 .allowed are 4 to 8 in multiples of 2"),
        ({"conv1": 2}, "cannot have width 2"),
        ({"conv1": 9}, "cannot have width 9"),
        ({"conv2": 4}, "group 'conv2' cannot have width 4 .pinned: output"),
    ],
)
def test_widths_that_break_a_rule_are_refused(changes, message):
    graph = two_convolutions()
    with pytest.raises(CutError, match=message):
        graph.check(graph.dense_widths.but(changes))


def test_widths_of_other_groups_are_refused():
    graph = two_convolutions()
    with pytest.raises(UnknownNameError, match="no channel group 'conv3'"):
        graph.check(graph.dense_widths.but({"conv3": 1}))
    with pytest.raises(CutError, match="widths miss group 'conv2'"):
        graph.check(Widths({"conv1": 8}))


def plan(graph: ChannelGraph, kept: tuple[int, ...], fingerprint: str | None = None) -> KeepPlan:
    return KeepPlan(fingerprint=fingerprint or graph.fingerprint, kept={"conv1": kept, "conv2": (0, 1, 2, 3, 4)})


def test_a_fitting_plan_is_accepted():
    graph = two_convolutions()
    good = plan(graph, (0, 3, 6, 7))
    graph.check_plan(good)
    assert good.widths == Widths({"conv1": 4, "conv2": 5})


@pytest.mark.parametrize("kept", [(3, 0, 6, 7), (0, 0, 6, 7), (-1, 0, 6, 7), (0, 3, 6, 8)])
def test_a_plan_with_bad_indices_is_refused(kept):
    graph = two_convolutions()
    with pytest.raises(CutError, match="sorted, distinct and below 8"):
        graph.check_plan(plan(graph, kept))


def test_a_plan_of_another_graph_is_refused():
    with pytest.raises(CutError, match="belongs to another graph"):
        two_convolutions().check_plan(plan(two_convolutions(10), (0, 1, 2, 3)))


def test_the_fingerprint_sees_places_and_shapes_but_not_pins():
    graph = two_convolutions()
    assert graph.fingerprint == two_convolutions().fingerprint
    assert graph.fingerprint != two_convolutions(10).fingerprint
    moved = dataclasses.replace(graph.groups[0], slots=(slot("conv1.weight", "out", 8), slot("conv2.weight", "in", 8)))
    assert replace_groups(graph, (moved, graph.groups[1])).fingerprint != graph.fingerprint
    longer = TensorSpec(path="steps", shape=(2,), parameter=False)
    reshaped = dataclasses.replace(graph, tensors=(*graph.tensors[:2], longer))
    assert reshaped.fingerprint != graph.fingerprint
    pinned = dataclasses.replace(graph.groups[0], pinned="asked for", min_width=1)
    assert replace_groups(graph, (pinned, graph.groups[1])).fingerprint == graph.fingerprint


def test_groups_are_looked_up_sorted_out_and_named_once():
    graph = two_convolutions()
    assert graph["conv1"].width == 8
    assert [group.name for group in graph.prunable] == ["conv1"]
    assert [group.name for group in graph.pinned] == ["conv2"]
    assert graph.smallest_widths == Widths({"conv1": 4, "conv2": 5})
    with pytest.raises(UnknownNameError, match="no channel group 'x'"):
        graph["x"]
    with pytest.raises(CutError, match="unique"):
        ChannelGraph(groups=(graph.groups[0],) * 2, layers=(), tensors=())


def test_widths_are_values():
    widths = Widths({"a": 1, "b": 2})
    assert widths == Widths([("b", 2), ("a", 1)])
    assert hash(widths) == hash(Widths({"b": 2, "a": 1}))
    assert widths.but({"a": 5}) == Widths({"a": 5, "b": 2})
    assert widths == Widths({"a": 1, "b": 2})
    assert list(widths) == ["a", "b"]
    assert widths != {"a": 1, "b": 2}
    with pytest.raises(TypeError):
        widths["a"] = 3


def test_a_target_reads_as_a_sentence_and_refuses_nonsense():
    assert str(Target(threads=2, batch_size=8)) == "torch on cpu, batch 8, 2 threads, fp32, contiguous"
    assert "thread" not in str(Target(device="cuda:0"))
    for name in ("batch_size", "threads"):
        with pytest.raises(InvalidOptionError, match=f"{name} must be at least 1, not 0"):
            Target(**{name: 0})


def test_widths_are_found_again_after_another_process_pickled_them():
    code = "import pickle, sys; from tailor.spec import Widths; sys.stdout.buffer.write(pickle.dumps(Widths({'a': 1})))"
    told = [
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert {pickle.loads(each) for each in told} == {Widths({"a": 1})}
