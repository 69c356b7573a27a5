"""Names give networks: three families and Python files; unknown names are answered with the nearest known."""

import pytest
import torch
from torch import nn

from tailor.errors import InvalidOptionError, UnknownNameError, WeightsError
from tailor.models import input_shape, load_model


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("tailor/resnet20-cifar100", (3, 32, 32), 100),
        ("tailor/vgg16-cifar@0.1", (3, 32, 32), 10),
        ("tailor/resnet20-tiny-imagenet@0.5", (3, 64, 64), 200),
        ("torchvision/mobilenet_v3_small", (3, 224, 224), 1000),
        ("timm/mobilenetv3_small_050", (3, 224, 224), 1000),
    ],
)
def test_a_name_gives_a_network_in_eval_mode_that_takes_its_input(name, shape, classes):
    model = load_model(name)
    assert not model.training
    assert input_shape(name, model) == shape
    with torch.no_grad():
        assert model(torch.zeros(1, *shape)).shape == (1, classes)


def test_odd_input_sizes_come_from_the_publisher():
    assert input_shape("torchvision/inception_v3", nn.Identity()) == (3, 299, 299)
    published = nn.Identity()
    published.pretrained_cfg = {"input_size": (3, 288, 256)}
    assert input_shape("timm/anything", published) == (3, 288, 256)


SMALL = ["tailor/resnet20-cifar@0.2", "torchvision/squeezenet1_1", "timm/mobilenetv3_small_050"]


@pytest.mark.parametrize("name", SMALL)
def test_classes_can_be_asked_for_and_the_seed_decides_the_weights(name):
    state = torch.random.get_rng_state()
    one, same, other = (load_model(name, num_classes=3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(state, torch.random.get_rng_state())
    pairs = list(zip(one.parameters(), same.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, c) for a, _, c in pairs)
    with torch.no_grad():
        assert one(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet50", "did you mean torchvision/resnet50 or timm/resnet50"),
        ("tailor/resnet57-cifar10", "did you mean tailor/resnet56-cifar10"),
        ("torchvision/resnet51", "did you mean torchvision/resnet50"),
        ("timm/mobilenetv3_large_10", "did you mean timm/mobilenetv3_large_10"),
        ("foo/bar_qux_zzz", "give torchvision/NAME"),
        ("", "give torchvision/NAME"),
        ("nowhere.py:net", "no file 'nowhere.py'"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(name, hint):
    with pytest.raises(UnknownNameError) as caught:
        load_model(name)
    assert hint in str(caught.value)
    assert caught.value.exit_code == 2


FILE = """
from torch import nn

def net():
    model = nn.Linear(2, 2)
    model.input_shape = (1, 8, 9)
    return model

def bare():
    return nn.Linear(2, 2)

def text():
    return "net"
"""


def test_a_network_from_a_file(tmp_path):
    (tmp_path / "nets.py").write_text(FILE)
    name = f"{tmp_path}/nets.py:net"
    assert input_shape(name, load_model(name)) == (1, 8, 9)
    with pytest.raises(InvalidOptionError, match=r"set model\.input_shape"):
        input_shape(f"{tmp_path}/nets.py:bare", load_model(f"{tmp_path}/nets.py:bare"))
    with pytest.raises(InvalidOptionError, match="returned a str"):
        load_model(f"{tmp_path}/nets.py:text")
    with pytest.raises(InvalidOptionError, match="the function decides classes"):
        load_model(name, num_classes=3)


def test_options_that_mean_nothing_are_refused():
    with pytest.raises(InvalidOptionError, match="num_classes must be at least 1, not 0"):
        load_model("tailor/resnet20-cifar", num_classes=0)
    with pytest.raises(InvalidOptionError, match="no published weights"):
        load_model("tailor/resnet20-cifar", pretrained=True)
    with pytest.raises(InvalidOptionError, match="either pretrained weights or a weights file"):
        load_model("torchvision/resnet18", pretrained=True, weights="x.pth")
    with pytest.raises(InvalidOptionError, match="drop num_classes or pretrained"):
        load_model("torchvision/resnet18", pretrained=True, num_classes=3)


@pytest.mark.parametrize(
    ("name", "owner", "function", "failure"),
    [
        ("torchvision/resnet18", "torchvision.models", "get_model", OSError("no route to host")),
        ("timm/resnet18", "timm", "create_model", RuntimeError("no pretrained weights exist")),
    ],
)
def test_a_failed_download_is_a_weights_error(monkeypatch, name, owner, function, failure):
    def fail(*args, **options):
        raise failure

    monkeypatch.setattr(f"{owner}.{function}", fail)
    with pytest.raises(WeightsError, match=f"pretrained weights of {name} could not be had: {failure}"):
        load_model(name, pretrained=True)


def test_weights_are_loaded_from_a_file(tmp_path):
    source = load_model("tailor/resnet20-cifar@0.2", seed=5)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    model = load_model("tailor/resnet20-cifar@0.2", weights=tmp_path / "weights.pth", seed=6)
    assert torch.equal(model.conv1.weight, source.conv1.weight)


def test_a_detector_without_weights_downloads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a download was begun")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    model = load_model("torchvision/ssdlite320_mobilenet_v3_large")
    assert type(model).__name__ == "SSD"
