"""A function in a Python file is called by the name `path/to/file.py:function`; its classes pickle by value."""

from __future__ import annotations

import difflib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import cloudpickle

from tailor.errors import UnknownNameError

__all__ = ["call_factory", "is_factory"]


def is_factory(spec: str) -> bool:
    """Whether the text has the form `file.py:function`."""
    path, colon, function = spec.rpartition(":")
    return bool(colon) and path.endswith(".py") and function.isidentifier()


def call_factory(spec: str) -> object:
    """The result of calling, without arguments, the function that `file.py:function` names.

    Raises:
        UnknownNameError: the file or the function does not exist; what the user's code raises passes through.
    """
    path, _, function = spec.rpartition(":")
    file = Path(path)
    if not file.is_file():
        raise UnknownNameError(f"no file {path!r}: give path/to/file.py:function", value=spec)
    module = _load(file)
    factory = getattr(module, function, None)
    if not callable(factory):
        functions = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        close = difflib.get_close_matches(function, functions, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UnknownNameError(f"{path} has no function {function!r}{hint}", value=spec)
    return factory()


def _load(file: Path) -> ModuleType:
    """Execute a file as a module whose classes cloudpickle stores by value, so that a fresh process can load them."""
    name = f"tailor_factory_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UnknownNameError(f"{file} cannot be imported as Python", value=str(file))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there while the file runs
    sys.path.insert(0, str(file.parent.resolve()))  # as `python file.py` would, so that it finds its neighbours
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(file.parent.resolve()))
    cloudpickle.register_pickle_by_value(module)
    return module
