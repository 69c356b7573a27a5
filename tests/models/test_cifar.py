"""Names of Tailor's own networks mean one network, number of classes, image side and width."""

import pytest

from tailor.models.cifar import CifarName, cifar_names, parse_cifar_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet56-cifar10", CifarName(network="resnet56", num_classes=10, side=32)),
        ("resnet110-cifar100", CifarName(network="resnet110", num_classes=100, side=32)),
        ("vgg16-cifar@0.5", CifarName(network="vgg16", num_classes=10, side=32, width=0.5)),
        ("resnet18-tiny-imagenet@.25", CifarName(network="resnet18", num_classes=200, side=64, width=0.25)),
    ],
)
def test_a_name_is_read(name, expected):
    assert parse_cifar_name(name) == expected


@pytest.mark.parametrize("name", ["resnet57-cifar10", "resnet56", "vgg16-cifar@", "vgg16-cifar@0", "vgg16-mnist", ""])
def test_what_is_no_name_is_none(name):
    assert parse_cifar_name(name) is None


def test_every_listed_name_is_read_and_builds_what_it_says():
    names = cifar_names()
    assert len(names) == 8 * 4
    for name in names:
        parsed = parse_cifar_name(name)
        assert parsed is not None
    head = parse_cifar_name("resnet20-cifar100").build().linear
    assert head.out_features == 100
    assert parse_cifar_name("resnet20-cifar100").build(7).linear.out_features == 7
