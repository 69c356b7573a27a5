"""`name -> model`: Tailor's CIFAR networks, every torchvision and timm name, and functions in Python files."""

from __future__ import annotations

import difflib
import inspect
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tailor.errors import InvalidOptionError, UnknownNameError, WeightsError
from tailor.models.cifar import CifarName, cifar_names, parse_cifar_name
from tailor.models.factory import call_factory, is_factory
from tailor.models.weights import load_weights

__all__ = ["input_shape", "load_model"]

FORMS = "torchvision/NAME, timm/NAME, tailor/NAME or path/to/file.py:function"
DEFAULT_SIDE = 224  # pixels, what most ImageNet networks were trained on


def load_model(
    name: str,
    *,
    num_classes: int | None = None,
    weights: str | Path | None = None,
    pretrained: bool = False,
    seed: int = 0,
) -> nn.Module:
    """The network that the name stands for, in eval mode, with weights from a file, its publisher, or the seed.

    The global random state is left as it was.

    Raises:
        UnknownNameError: no such network, or no such file or function.
        InvalidOptionError: `pretrained` or `num_classes` where they mean nothing, or a factory that returns no module.
        WeightsError: the weights are missing, damaged, of other shapes, or could not be downloaded.
    """
    if num_classes is not None and num_classes < 1:
        raise InvalidOptionError(f"num_classes must be at least 1, not {num_classes}", value=num_classes)
    if pretrained and weights is not None:
        raise InvalidOptionError("give either pretrained weights or a weights file, not both", value=str(weights))
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)  # manual_seed would seed every GPU as well
        model = _build(name, num_classes, pretrained)
    if weights is not None:
        load_weights(model, weights)
    return model.eval()


def input_shape(name: str, model: nn.Module) -> tuple[int, int, int]:
    """Shape (channels, height, width) of one input image, as the network's publisher used it.

    A network from a Python file says it in an attribute `input_shape`.

    Raises:
        UnknownNameError: no such network.
        InvalidOptionError: a network from a file without that attribute.
    """
    if is_factory(name):
        return _stated_shape(name, model)
    family, _, short = name.partition("/")
    if family == "tailor":
        side = _cifar(name).side
        return (3, side, side)
    if family == "timm":
        config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}
        channels, height, width = config.get("input_size", (3, DEFAULT_SIDE, DEFAULT_SIDE))
        return (int(channels), int(height), int(width))
    if family == "torchvision":
        side = _torchvision_side(short, model)
        return (3, side, side)
    raise _unknown(name)


def _build(name: str, num_classes: int | None, pretrained: bool) -> nn.Module:
    if is_factory(name):
        return _from_file(name, num_classes, pretrained)
    family = name.partition("/")[0]
    if family == "tailor":
        network = _cifar(name)
        if pretrained:
            raise InvalidOptionError(f"{name} has no published weights; give a weights file", value=name)
        return network.build(num_classes)
    if family == "torchvision":
        return _from_torchvision(name, num_classes, pretrained)
    if family == "timm":
        return _from_timm(name, num_classes, pretrained)
    raise _unknown(name)


def _from_file(name: str, num_classes: int | None, pretrained: bool) -> nn.Module:
    if pretrained or num_classes is not None:
        raise InvalidOptionError(f"{name}: the function decides classes and weights, not an option", value=name)
    model = call_factory(name)
    if not isinstance(model, nn.Module):
        raise InvalidOptionError(f"{name} returned a {type(model).__name__}, not a torch module", value=name)
    return model


def _from_torchvision(name: str, num_classes: int | None, pretrained: bool) -> nn.Module:
    from torchvision.models import get_model, get_model_builder, list_models

    short = name.partition("/")[2]
    if short not in list_models():
        raise _unknown(name)
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    if not pretrained and "weights_backbone" in inspect.signature(get_model_builder(short)).parameters:
        options["weights_backbone"] = None  # detectors would download a trained backbone that nobody asked for
    try:
        with warnings.catch_warnings():
            # two old networks announce a change of their initialisation; weights are about to replace it
            warnings.filterwarnings("ignore", message="The default weight initialization", category=FutureWarning)
            model = get_model(short, weights="DEFAULT" if pretrained else None, **options)
    except OSError as error:
        raise _no_download(name, error) from None
    except ValueError as error:  # torchvision's way to say that published weights fix the number of classes
        raise InvalidOptionError(f"{name}: {error}; drop num_classes or pretrained", value=num_classes) from None
    return _as_module(model)


def _from_timm(name: str, num_classes: int | None, pretrained: bool) -> nn.Module:
    import timm

    short = name.partition("/")[2]
    if not short or not timm.is_model(short):
        raise _unknown(name)
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    try:
        model = timm.create_model(short, pretrained=pretrained, **options)
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise _no_download(name, error) from None
    return _as_module(model)


def _as_module(model: object) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise InvalidOptionError(f"a model library returned a {type(model).__name__}, not a module", value=model)
    return model


def _no_download(name: str, error: Exception) -> WeightsError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return WeightsError(f"pretrained weights of {name} could not be had: {reason}; give a weights file", value=name)


def _stated_shape(name: str, model: nn.Module) -> tuple[int, int, int]:
    shape = getattr(model, "input_shape", None)
    if isinstance(shape, tuple | list) and len(shape) == 3 and all(isinstance(n, int) and n > 0 for n in shape):
        return (shape[0], shape[1], shape[2])
    raise InvalidOptionError(
        f"{name}: its input shape is unknown; set model.input_shape = (channels, height, width) or give data",
        value=shape,
    )


def _torchvision_side(short: str, model: nn.Module) -> int:
    from torchvision.models import get_model_weights, list_models

    if short not in list_models():
        raise _unknown(f"torchvision/{short}")
    stated = getattr(model, "image_size", None)  # vision transformers refuse any other
    if isinstance(stated, int):
        return stated
    published = getattr(get_model_weights(short), "DEFAULT", None)
    crop = getattr(published.transforms(), "crop_size", None) if published is not None else None
    return int(crop[0]) if crop else DEFAULT_SIDE


def _cifar(name: str) -> CifarName:
    parsed = parse_cifar_name(name.partition("/")[2])
    if parsed is None:
        raise _unknown(name)
    return parsed


def _unknown(name: str) -> UnknownNameError:
    """The error for a name that nothing answers to, with the nearest names that something does."""
    family, slash, short = name.partition("/")
    families = [family] if family in {"tailor", "torchvision", "timm"} else ["tailor", "torchvision", "timm"]
    known: dict[str, list[str]] = {}
    for candidate_family in families if name else []:
        for candidate in _names_in(candidate_family):
            known.setdefault(candidate, []).append(f"{candidate_family}/{candidate}")
    close = difflib.get_close_matches(short if slash else name, known, n=3)
    matches = [full for candidate in close for full in known[candidate]][:3]
    hint = f"did you mean {' or '.join(matches)}?" if matches else f"give {FORMS}"
    return UnknownNameError(f"no model {name!r}; {hint}", value=name)


def _names_in(family: str) -> list[str]:
    if family == "tailor":
        return cifar_names()
    if family == "timm":
        import timm

        return [str(short) for short in timm.list_models()]
    from torchvision.models import list_models

    return list(list_models())
