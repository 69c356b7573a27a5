"""Weights from a file into a model: safetensors, or PyTorch files read without unpickling code."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from tailor.errors import WeightsError

__all__ = ["load_weights"]

WRAPPERS = ("state_dict", "model_state_dict", "model")


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Every parameter and buffer of the model is filled from the file, in place; anything left over is an error.

    `.safetensors`, or `.pt`, `.pth`, `.bin` read with `weights_only=True`. A state dict may lie under "state_dict",
    "model_state_dict" or "model", and its keys may begin with "module.".

    Raises:
        WeightsError: the file is missing, truncated or unsafe, or its keys or shapes are not the model's.
    """
    path = Path(path)
    weights = _without_prefix(_unwrapped(_read(path), path))
    _check(model.state_dict(), weights, path)
    # not strict: `num_batches_tracked`, which old checkpoints lack, is the one key that `_check` lets go missing
    model.load_state_dict(weights, strict=False)


def _read(path: Path) -> object:
    if not path.is_file():
        raise WeightsError(f"no weights file {path}", value=str(path))
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix in {".pt", ".pth", ".bin"}:
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is damaged or holds more than tensors, which is not loaded: save its state_dict() as .safetensors"
            f" ({_first_line(error)})",
            value=str(path),
        ) from None
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} is damaged or truncated: {_first_line(error)}", value=str(path)) from None
    raise WeightsError(f"{path} has an unknown ending: give .safetensors, .pt, .pth or .bin", value=str(path))


def _unwrapped(content: object, path: Path) -> Mapping[str, Tensor]:
    while isinstance(content, Mapping):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{path} holds no state dict but a {type(content).__name__}", value=str(path))
    strange = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if strange:
        raise WeightsError(f"{path} holds entries that are no tensors: {_few(strange)}", value=strange)
    return content


def _without_prefix(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefix = "module." if all(key.startswith("module.") for key in weights) else ""
    return {key[len(prefix) :]: value for key, value in weights.items()}


def _check(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path) -> None:
    missing = [key for key in expected if key not in found and not key.endswith("num_batches_tracked")]
    surplus = sorted(key for key in found if key not in expected)
    if missing or surplus:
        parts = [f"lacks {_few(missing)}"] if missing else []
        parts += [f"has unknown {_few(surplus)}"] if surplus else []
        raise WeightsError(f"{path} does not fit the model: it {' and '.join(parts)}", value=(missing, surplus))
    wrong = [
        f"{key} is {list(value.shape)}, not {list(expected[key].shape)}"
        for key, value in found.items()
        if value.shape != expected[key].shape
    ]
    if wrong:
        raise WeightsError(f"{path} does not fit the model: {_few(wrong)}", value=wrong)


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
