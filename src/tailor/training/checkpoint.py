"""A training's state between two epochs, in one file that is read without unpickling code."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tailor.errors import RunFolderError
from tailor.serialize import write_bytes

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """State after `epoch` finished epochs; `fingerprint` says of which training, `history` is its JSON.

    `states` maps "model", "optimizer", "scheduler" and "average" (where weights are averaged) to their state dicts.
    """

    fingerprint: str
    epoch: int
    history: str
    states: dict[str, Any]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the file whole or not at all."""
    buffer = io.BytesIO()
    content = {
        "format": FORMAT,
        "fingerprint": checkpoint.fingerprint,
        "epoch": checkpoint.epoch,
        "history": checkpoint.history,
        "states": checkpoint.states,
    }
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


def load_checkpoint(path: Path, fingerprint: str) -> Checkpoint | None:
    """What was saved there, or None where there is no file.

    Raises:
        RunFolderError: the file is damaged, or belongs to another training.
    """
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found = (content["format"], content["fingerprint"])
        checkpoint = Checkpoint(**{key: value for key, value in content.items() if key != "format"})
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RunFolderError(f"checkpoint {path} is damaged ({reason}); delete it", value=str(path)) from None
    if found != (FORMAT, fingerprint):
        raise RunFolderError(
            f"checkpoint {path} belongs to another training (recipe, data or widths differ); delete it",
            value=str(path),
        )
    return checkpoint
