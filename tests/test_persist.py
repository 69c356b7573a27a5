"""Saved is loaded: to the bit, without pickle, and damage is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import tailor
from tailor.channels import build, trace
from tailor.errors import RunFolderError, SchemaError, WeightsError
from tailor.persist import MODEL_FILE, PROGRAM_FILE, WEIGHTS_FILE, flush_denormals, load, restore, save
from tailor.spec import KeepPlan
from tiny_net import make

SOURCE = str(Path(tailor.__file__).parents[1])
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


class Counted(nn.Module):
    """Holds a channel count in its code, so that its exported graph is what is cut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Linear(8, 4)
        self.conv.bias.requires_grad_(False)
        self.register_buffer("scale", torch.full((8, 1, 1), 2.0), persistent=False)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = (self.norm(self.conv(x)) * self.scale).relu().view(x.shape[0], 8, 32 * 32)
        logits = self.head(x.mean(2))
        return {"logits": logits, "first": logits[:, 0]}


def test_an_exported_graph_loads_without_its_class_and_is_a_network_like_any_other(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = halved(Counted()).train()
    for _ in range(2):
        small(X)["logits"].square().mean().backward()  # its statistics move
    small.eval()
    save(small, tmp_path)
    assert (tmp_path / PROGRAM_FILE).exists()
    code = f"""
import sys, torch
sys.modules["test_persist"] = None
from tailor.persist import load
network = load({str(tmp_path)!r})
x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
torch.save([network(x)["logits"].detach(), network(x[:1])["first"].detach()], {str(tmp_path / "out.pt")!r})
assert not network.get_parameter("conv.bias").requires_grad and network.get_parameter("conv.weight").requires_grad
assert not network.training
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": SOURCE})
    logits, first = torch.load(tmp_path / "out.pt", weights_only=True)
    assert torch.equal(logits, small(X)["logits"])
    assert torch.equal(first, small(X[:1])["first"])
    again = load(tmp_path)
    assert set(again.state_dict()) == set(Counted().state_dict())
    assert trace(again, X)["conv"].width == 4


def test_a_folder_that_lost_its_program_says_so_and_a_module_leaves_none(tmp_path: Path) -> None:
    save(halved(Counted()), tmp_path)
    (tmp_path / PROGRAM_FILE).unlink()
    with pytest.raises(SchemaError, match=PROGRAM_FILE):
        load(tmp_path)
    save(halved(Counted()), tmp_path)
    save(make(), tmp_path)
    assert not (tmp_path / PROGRAM_FILE).exists()
