"""Real use and bad input: wrappers are taken off and said; what cannot be cut gets an answer, never a wrong cut."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from channel_oracle import random_plan, whole_plan, worst_difference
from channel_situations import SITUATIONS, Net, conv, image
from torch import Tensor, nn

from tailor.channels import build, cut, trace
from tailor.errors import TraceError

torch.set_num_threads(1)

Forward = Callable[..., Any]


def two_layers(between: Callable[[Tensor], Tensor]) -> Net:
    """A convolution of eight channels, something done to them, and a head."""
    torch.manual_seed(0)
    return Net(lambda m, x: m.head(between(m.a(x))), a=conv(3, 8), head=conv(8, 4))


# wrappers and real use


@pytest.mark.parametrize("wrapper", ["DataParallel", "OptimizedModule"])
def test_wrappers_are_taken_off_and_said(wrapper: str) -> None:
    plain, x = SITUATIONS["plain_chain"].model_and_input
    wrapped = nn.DataParallel(plain) if wrapper == "DataParallel" else torch.compile(plain, backend="eager")
    with pytest.warns(UserWarning, match=f"{wrapper} is taken off"):
        graph = trace(wrapped, x)
    assert graph.fingerprint == trace(plain, x).fingerprint
    with pytest.warns(UserWarning, match=wrapper):
        small = cut(wrapped, graph, whole_plan(graph, a=(0, 1, 5)))
    assert type(small) is Net
    assert small.a.out_channels == 3


def test_distributed_data_parallel_is_taken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        plain, x = SITUATIONS["plain_chain"].model_and_input
        with pytest.warns(UserWarning, match="DistributedDataParallel is taken off"):
            graph = trace(nn.parallel.DistributedDataParallel(plain), x)
    finally:
        torch.distributed.destroy_process_group()
    assert {group.name for group in graph.prunable} == {"a", "b"}


def test_a_module_compiled_in_place_is_cut_and_not_run_as_it_was() -> None:
    model, x = SITUATIONS["plain_chain"].model_and_input
    model.eval()
    model.compile(backend="eager")
    model(x)
    graph = trace(model, x)
    assert {group.name for group in graph.prunable} == {"a", "b"}
    small = cut(model, graph, whole_plan(graph, a=(0, 2), b=(1, 3)))
    bare, _ = SITUATIONS["plain_chain"].model_and_input
    expected = build(bare.eval(), graph, whole_plan(graph, a=(0, 2), b=(1, 3)))(x)
    assert torch.allclose(small.eval()(x), expected, atol=1e-6)
    assert model._compiled_call_impl is not None  # the user's own stays compiled


def test_modules_with_attributes_of_their_own_keep_them() -> None:
    class Tagged(nn.Conv2d):
        def __init__(self) -> None:
            super().__init__(3, 8, 3, padding=1)
            self.tag, self.seen = {"name": "first"}, [1, 2]

    model = nn.Sequential(Tagged(), conv(8, 4))
    graph = trace(model, image())
    small = cut(model, graph, whole_plan(graph, **{"0": (1, 2)}))
    assert type(small[0]) is Tagged
    assert (small[0].tag, small[0].seen) == ({"name": "first"}, [1, 2])
    assert small[0].tag is not model[0].tag


# what cannot be cut


def quantised() -> tuple[Any, Tensor]:
    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.leave = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()
            self.a = conv(3, 8)

        def forward(self, x: Tensor) -> Tensor:
            return self.leave(self.a(self.enter(x)))

    model = Part().eval()
    model.qconfig = torch.ao.quantization.get_default_qconfig("x86")  # type: ignore[assignment]
    torch.ao.quantization.prepare(model, inplace=True)
    model(image())
    return torch.ao.quantization.convert(model), image()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: (nn.Sequential(nn.LazyConv2d(8, 3)), image()), "'0.weight' is lazy.*run the model once"),
        (lambda: (torch.jit.script(nn.Sequential(conv(3, 8))), image()), "TorchScript.*give the Python module"),
        (lambda: (torch.nn.functional.relu, image()), "must be a torch.nn.Module, not .*function"),
        (quantised, "is quantised.*cut the float network, then quantise"),
        (lambda: (Net(lambda m, x: None, a=conv(3, 8)), image()), r"returns no tensor \(NoneType\)"),
        (lambda: (two_layers(lambda x: x[:0]), image()), "answers with empty tensors"),
    ],
    ids=["lazy", "script", "function", "quantised", "nothing", "empty"],
)
def test_what_cannot_be_cut_is_refused_in_one_line(make: Callable[[], Any], words: str) -> None:
    model, x = make()
    with pytest.raises(TraceError, match=words) as caught:
        trace(model, x)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")
def test_layers_quantised_on_the_fly_are_pinned_and_the_rest_is_cut() -> None:
    chain, x = SITUATIONS["plain_chain"].model_and_input
    model = nn.Sequential(chain, nn.Flatten(), nn.Linear(256, 16), nn.ReLU(), nn.Linear(16, 3))
    graph = trace(torch.ao.quantization.quantize_dynamic(model, {nn.Linear}), x)
    assert {group.name for group in graph.prunable} == {"0.a", "0.b"}
    assert "operator linear_dynamic has no rule" in (graph["0.head"].pinned or "")


# numbers drawn at random


@pytest.mark.parametrize(
    ("between", "words"),
    [
        (lambda x: x + torch.randn_like(x), "draws random numbers for these channels"),
        (lambda x: F.dropout(x, 0.5, training=True), "draws random numbers for these channels"),
        (lambda x: F.dropout2d(x, 0.5, training=True), "no parameter"),
        (lambda x: x * (torch.rand(x.shape) > 0.5), "no parameter"),
        (lambda x: x if random.random() < 0.5 else x * 2, "draws random numbers in Python"),
        (lambda x: x if np.random.rand() < 0.5 else x * 2, "draws random numbers in Python"),
        (lambda x: x if torch.rand(()).item() < 0.5 else x * 2, "reads values in Python"),
    ],
)
def test_channels_that_random_numbers_are_drawn_for_are_pinned(between: Any, words: str) -> None:
    graph = trace(two_layers(between), image())
    assert words in (graph["a"].pinned or "")


def test_noise_on_the_input_is_no_obstacle() -> None:
    model = Net(lambda m, x: m.head(m.a(x + torch.randn_like(x))), a=conv(3, 8), head=conv(8, 4))
    graph = trace(model, image())
    assert graph["a"].pinned is None
    assert cut(model, graph, whole_plan(graph, a=(0, 3))).a.out_channels == 2


# what values decide


def test_a_branch_that_was_not_taken_pins_what_it_could_read() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.a(x)
        return m.head(y if y.mean() > 0 else m.b(x))

    graph = trace(Net(forward, a=conv(3, 8), b=conv(3, 8), head=conv(8, 4)), image())
    assert not graph.prunable
    assert all("reads values in Python" in (group.pinned or "") for group in graph.groups)


def test_an_early_exit_pins_and_a_value_read_at_the_end_does_not() -> None:
    def early(m: Any, x: Tensor) -> Tensor:
        first = m.exit(m.a(x).mean((2, 3)))
        return first if first.max() > -1e9 else m.head(m.b(m.a(x)).mean((2, 3)))

    parts = {"a": conv(3, 8), "exit": nn.Linear(8, 4), "b": conv(8, 6), "head": nn.Linear(6, 4)}
    assert not trace(Net(early, **parts), image()).prunable

    def late(m: Any, x: Tensor) -> Tensor:
        y = m.head(m.a(x))
        return y if y.max() > 0 else y * 2

    assert [g.name for g in trace(Net(late, a=conv(3, 8), head=conv(8, 4)), image()).prunable] == ["a"]


@pytest.mark.parametrize(
    "between",
    [
        lambda x: x[:, x.mean((0, 2, 3)).topk(4).indices].repeat(1, 2, 1, 1),
        lambda x: x.sort(1).values,
        lambda x: x[:, torch.tensor([3, 1, 0, 2, 4, 5, 6, 7])],
    ],
)
def test_channels_picked_by_value_or_place_are_pinned(between: Any) -> None:
    graph = trace(two_layers(between), image())
    assert "picked by" in (graph["a"].pinned or "")


def test_positions_picked_by_value_leave_the_channels_free() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.a(x)
        keep = m.score(x).flatten() > 0
        return m.fc(y.permute(0, 2, 3, 1).reshape(-1, y.shape[1])[keep])

    model = Net(forward, a=conv(3, 8), score=conv(3, 1), fc=nn.Linear(8, 4))
    graph = trace(model, image())
    assert "picked by their value" in (graph["score"].pinned or "")
    for seed in range(3):
        cut(model, graph, random_plan(graph, seed))


class Detector(nn.Module):
    """Scores and boxes on a grid; the best few are handed out, most often none."""

    def __init__(self, *, wrong: bool = False) -> None:
        super().__init__()
        self.trunk, self.tower = conv(3, 8), conv(8, 6)
        self.scores, self.boxes = conv(6, 2), conv(6, 4)
        self.wrong = wrong

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        x = self.tower(self.trunk(torch.stack(images)).relu())
        if self.wrong:  # the fourth channel is another one after a cut
            x = x * x[:, 3:4].sigmoid()
        found = []
        for scores, boxes in zip(self.scores(x).flatten(2), self.boxes(x).flatten(2), strict=True):
            best = scores.max(0).values.topk(5).indices
            sure = scores[:, best].max(0).values.sigmoid() > 2  # never
            found.append({"scores": scores[:, best][:, sure], "boxes": boxes[:, best][:, sure]})
        return found


def test_a_detector_that_finds_nothing_is_proven_by_what_it_picks_from() -> None:
    torch.manual_seed(0)
    images = ([torch.randn(3, 8, 8), torch.randn(3, 8, 8)],)
    model = Detector()
    graph = trace(model, images)
    assert {group.name for group in graph.prunable} == {"trunk", "tower"}
    small = cut(model, graph, random_plan(graph, 0))
    assert [sorted(answer) for answer in small(*images)] == [["boxes", "scores"]] * 2
    assert trace(Detector(wrong=True), images)["tower"].pinned is not None


def test_layers_that_no_data_reached_are_pinned() -> None:
    def forward(m: Any, x: Tensor) -> Any:
        scores = m.scores(x)
        rows = m.a(x).permute(0, 2, 3, 1)[scores.flatten(1).sigmoid().reshape(2, 8, 8) > 2]
        return scores, m.second(m.first(rows))

    parts = {"a": conv(3, 8), "scores": conv(3, 1), "first": nn.Linear(8, 6), "second": nn.Linear(6, 4)}
    graph = trace(Net(forward, **parts), image())
    assert "no data reached" in (graph["first"].pinned or "")
    assert not graph.prunable


def test_an_auxiliary_head_still_fits_when_the_cut_network_trains() -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c, self.head = conv(3, 8), conv(8, 6), conv(6, 5), conv(5, 4)
            self.side = nn.Sequential(nn.BatchNorm2d(6), conv(6, 4))

        def forward(self, x: Tensor) -> Any:
            x = self.b(self.a(x).relu()).relu()
            y = self.head(self.c(x).relu())
            return (y, self.side(x)) if self.training else y

    model = Deep()
    graph = trace(model, image())
    assert {group.name for group in graph.prunable} == {"a", "c"}
    assert "training only" in (graph["b"].pinned or "")
    assert len(graph.layers) == 4
    small = cut(model, graph, random_plan(graph, 0))
    assert len(small.train()(image())) == 2


def test_nothing_is_said_where_nothing_is_taken_off() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, x = SITUATIONS["plain_chain"].model_and_input
        graph = trace(model, x)
        assert worst_difference(model, graph, random_plan(graph, 0), x) < 1e-11
