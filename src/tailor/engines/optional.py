"""Libraries that only some engines need, imported when such an engine is opened."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from tailor.errors import MissingDependencyError

__all__ = ["required"]


def required(module: str, *, engine: str, extra: str) -> Any:
    """The library, imported.

    Raises:
        MissingDependencyError: it is not installed; the message gives the command that installs it.
    """
    try:
        found: ModuleType = importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingDependencyError(
            f"engine {engine} needs the package {package}: pip install 'tailor-prune[{extra}]' ({error})", value=package
        ) from None
    return found
