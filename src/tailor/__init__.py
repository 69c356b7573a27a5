"""Tailor makes a CNN to measure: it measures the device, cuts the channels to fit, fine-tunes, and measures again."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tailor.primitive_cache import make_room

if TYPE_CHECKING:
    from tailor.api import profile, prune
    from tailor.channels import build, cut, trace
    from tailor.errors import TailorError
    from tailor.exporting import export
    from tailor.measuring import measure
    from tailor.models import load_model
    from tailor.persist import load
    from tailor.records import Budget
    from tailor.spec import ChannelGraph, KeepPlan, Target, Widths
    from tailor.training import load_data

__all__ = [
    "Budget",
    "ChannelGraph",
    "KeepPlan",
    "TailorError",
    "Target",
    "Widths",
    "build",
    "cut",
    "export",
    "load",
    "load_data",
    "load_model",
    "measure",
    "profile",
    "prune",
    "trace",
]

# Each name is imported when it is first asked for, so that `import tailor` costs milliseconds and no torch.
_HOMES = {
    "Budget": "tailor.records",
    "ChannelGraph": "tailor.spec",
    "KeepPlan": "tailor.spec",
    "TailorError": "tailor.errors",
    "Target": "tailor.spec",
    "Widths": "tailor.spec",
    "build": "tailor.channels",
    "cut": "tailor.channels",
    "export": "tailor.exporting",
    "load": "tailor.persist",
    "load_data": "tailor.training",
    "load_model": "tailor.models",
    "measure": "tailor.measuring",
    "profile": "tailor.api",
    "prune": "tailor.api",
    "trace": "tailor.channels",
}

make_room()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tailor' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
