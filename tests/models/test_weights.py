"""Weights files fill the model exactly, or are refused with the file and the keys named."""

import collections

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tailor.errors import WeightsError
from tailor.models import load_weights


def network(seed, width=4):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU())


def equal(one, other):
    return all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())


@pytest.fixture
def source():
    return network(1)


WRAPPINGS = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "model": lambda state: {"model": state},
    "prefix": lambda state: {f"module.{key}": value for key, value in state.items()},
    "both": lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}, "best": 0.5},
    "old": lambda state: {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")},
    "ordered": collections.OrderedDict,
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("suffix", ["pt", "pth"])
def test_every_usual_wrapping_is_read(source, tmp_path, wrapping, suffix):
    path = tmp_path / f"weights.{suffix}"
    torch.save(WRAPPINGS[wrapping](source.state_dict()), path)
    model = network(2)
    load_weights(model, path)
    assert equal(source, model)


def test_safetensors_are_read(source, tmp_path):
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    model = network(2)
    assert not equal(source, model)
    load_weights(model, tmp_path / "weights.safetensors")
    assert equal(source, model)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_truncated_file_is_refused_and_the_model_untouched(source, tmp_path, suffix):
    path = tmp_path / f"weights.{suffix}"
    save_file(source.state_dict(), path) if suffix == "safetensors" else torch.save(source.state_dict(), path)
    whole = path.read_bytes()
    for length in (0, 7, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        model = network(2)
        with pytest.raises(WeightsError, match=r"weights\.\w+ is damaged"):
            load_weights(model, path)
        assert equal(network(2), model)


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (print, ("unpickled",))


def test_pickled_objects_are_never_run(tmp_path, capsys):
    torch.save({"state_dict": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(WeightsError, match=r"trap\.pth .*safetensors"):
        load_weights(network(0), tmp_path / "trap.pth")
    assert "unpickled" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("0.weight"), r"lacks 0\.weight"),
        (lambda s: s.update({"9.weight": torch.zeros(1)}), r"has unknown 9\.weight"),
        (lambda s: s.update({"0.bias": torch.zeros(5)}), r"0\.bias is \[5\], not \[4\]"),
        (lambda s: s.update({"0.bias": "text"}), r"no tensors: 0\.bias"),
        (lambda s: s.clear(), "holds no state dict"),
    ],
)
def test_what_does_not_fit_is_named(source, tmp_path, change, message):
    state = dict(source.state_dict())
    change(state)
    torch.save(state, tmp_path / "weights.pth")
    model = network(2)
    with pytest.raises(WeightsError, match=message):
        load_weights(model, tmp_path / "weights.pth")
    assert equal(network(2), model)


def test_missing_files_and_unknown_endings_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"no weights file .*nothing\.pt"):
        load_weights(network(0), tmp_path / "nothing.pt")
    (tmp_path / "weights.h5").write_bytes(b"x")
    with pytest.raises(WeightsError, match="unknown ending"):
        load_weights(network(0), tmp_path / "weights.h5")
