"""Saved is loaded: to the bit, without pickle, and damage is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import tailor
from tailor.channels import build, trace
from tailor.errors import RunFolderError, WeightsError
from tailor.persist import MODEL_FILE, WEIGHTS_FILE, flush_denormals, load, restore, save
from tailor.spec import KeepPlan
from tiny_net import make

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def halved(model: nn.Module) -> nn.Module:
    graph = trace(model, X)
    kept = {g.name: tuple(range(g.width if g.pinned else g.width // 2)) for g in graph.groups}
    return build(model, graph, KeepPlan(fingerprint=graph.fingerprint, kept=kept))


def test_what_is_restored_computes_the_same_to_the_bit(tmp_path: Path) -> None:
    dense = make()
    small = halved(dense).eval()
    save(small, tmp_path)
    again = restore(dense, tmp_path)
    assert torch.equal(again(X), small(X))
    assert again.inner[0].out_channels == small.inner[0].weight.shape[0] == 48
    assert dense.inner[0].out_channels == 96  # the skeleton is left alone


def test_a_named_network_loads_from_the_folder_alone(tmp_path: Path) -> None:
    dense = tailor.load_model("tailor/resnet20-cifar")
    small = halved(dense).eval()
    save(small, tmp_path, name="tailor/resnet20-cifar", num_classes=10)
    assert torch.equal(load(tmp_path)(X), small(X))


def test_frozen_flags_and_modes_of_the_skeleton_survive(tmp_path: Path) -> None:
    dense = make()
    dense.stem[0].weight.requires_grad_(False)
    save(halved(dense), tmp_path)
    again = restore(dense, tmp_path)
    assert not again.stem[0].weight.requires_grad
    assert again.inner[0].weight.requires_grad
    assert not again.training


def test_shared_weights_stay_shared(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)).eval()
    net[2].weight = net[0].weight
    save(net, tmp_path)
    again = restore(net, tmp_path)
    assert again[2].weight is again[0].weight
    assert again[0].weight is not net[0].weight


def test_an_object_needs_its_dense_network(tmp_path: Path) -> None:
    save(make(), tmp_path)
    with pytest.raises(RunFolderError, match=r"TinyNet.*load\(folder, model=...\)"):
        load(tmp_path)
    assert torch.equal(load(tmp_path, make())(X), make()(X))


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    save(make(), tmp_path)
    with pytest.raises(WeightsError, match="another architecture"):
        load(tmp_path, nn.Linear(2, 2))


def test_truncated_weights_are_told(tmp_path: Path) -> None:
    save(make(), tmp_path)
    weights = tmp_path / WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="damaged"):
        load(tmp_path, make())


@pytest.mark.parametrize("name", [MODEL_FILE, WEIGHTS_FILE])
def test_a_folder_without_a_network_is_told(tmp_path: Path, name: str) -> None:
    save(make(), tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(RunFolderError, match=name.replace(".", r"\.")):
        load(tmp_path, make())


def test_denormals_are_flushed_and_counted() -> None:
    net = nn.Linear(4, 4)
    with torch.no_grad():
        net.weight.fill_(1.0)
        net.weight[0, :3] = 1e-40
    assert flush_denormals(net) == 3
    assert net.weight[0].tolist() == [0.0, 0.0, 0.0, 1.0]
    assert flush_denormals(net) == 0
