"""Subjects: example inputs become batches, layer shapes become layers that compute exactly those shapes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tailor.engines.subjects import batched, layer_key, layer_module, layer_subject, network_subject
from tailor.errors import MeasurementError
from tailor.spec import LayerShape

CONV = LayerShape(
    kind="conv", in_channels=6, out_channels=9, kernel=(3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 1), groups=3,
    spatial=(8, 10), bias=True,
)
SHAPES = [
    CONV,
    LayerShape(kind="conv", in_channels=4, out_channels=4, kernel=(3,), stride=(1,), padding=(1,), dilation=(2,),
               groups=4, spatial=(16,)),
    LayerShape(kind="deconv", in_channels=4, out_channels=6, kernel=(4, 4), stride=(2, 2), padding=(1, 1),
               dilation=(1, 1), output_padding=(1, 0), groups=2, spatial=(5, 7)),
    LayerShape(kind="linear", in_channels=12, out_channels=5, bias=True),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.kind}{len(shape.spatial)}")
def test_a_lone_layer_computes_the_shape_it_was_made_from(shape: LayerShape) -> None:
    subject = layer_subject(shape, 3)
    output = subject.module(*subject.inputs)
    spatial = () if shape.kind == "linear" else shape.output_spatial
    assert output.shape == (3, shape.out_channels, *spatial)
    assert (subject.module.bias is not None) == shape.bias
    assert torch.isfinite(output).all()
    assert output.abs().max() > 0


def test_layers_are_seeded_and_leave_the_global_random_state() -> None:
    before = torch.get_rng_state()
    one, two, other = layer_module(CONV), layer_module(CONV), layer_module(CONV, seed=1)
    layer_subject(CONV, 2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.weight, two.weight)
    assert not torch.equal(one.weight, other.weight)


def test_keys_are_equal_for_equal_shapes_and_differ_in_every_field() -> None:
    changes = {
        "kind": "deconv", "in_channels": 12, "out_channels": 12, "kernel": (1, 5), "stride": (1, 1), "padding": (0, 2),
        "dilation": (2, 1), "output_padding": (1, 1), "groups": 1, "spatial": (8, 8), "bias": False,
    }
    keys = {layer_key(replace(CONV, **{name: value})) for name, value in changes.items()}
    assert len(keys | {layer_key(CONV)}) == len(changes) + 1
    assert layer_key(CONV) == layer_key(replace(CONV))
    assert set(changes) == set(LayerShape.__dataclass_fields__)


def test_an_unknown_kind_of_layer_is_named() -> None:
    with pytest.raises(MeasurementError, match="'attention'"):
        layer_module(replace(CONV, kind="attention"))


def test_inputs_are_repeated_to_the_batch_and_what_has_no_batch_stays() -> None:
    x, scale = torch.arange(6.0).reshape(2, 3), torch.ones(5)
    many, kept, flag = batched((x, scale, True), 5)
    assert torch.equal(many, x[[0, 1, 0, 1, 0]])
    assert kept is scale
    assert flag is True
    assert torch.equal(batched((x,), 1)[0], x[:1])
    assert batched((1, "a"), 4) == (1, "a")


class Adds(nn.Module):
    def forward(self, x: Tensor, *, y: Tensor) -> Tensor:
        return x + y


@pytest.mark.parametrize("example", [torch.ones(1, 3), (torch.ones(1, 3),), {"input": torch.ones(1, 3)}])
def test_tensors_tuples_and_keyword_inputs_are_all_called(example: object) -> None:
    subject = network_subject("key", nn.Linear(3, 2), example, 4)
    assert subject.key == "key"
    assert subject.module(*subject.inputs).shape == (4, 2)


def test_keyword_only_inputs_reach_their_names() -> None:
    subject = network_subject("key", Adds(), {"y": torch.ones(1, 3), "x": torch.zeros(1, 3)}, 2)
    assert torch.equal(subject.module(*subject.inputs), torch.ones(2, 3))
