"""Records to JSON and back: typed, with a schema number, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tailor.errors import SchemaError
from tailor.spec import Widths

__all__ = ["SCHEMA", "decode", "encode", "read_record", "write_bytes", "write_record"]

SCHEMA = 1
T = TypeVar("T")


def _to_builtin(value: Any) -> Any:
    if isinstance(value, Widths):
        return dict(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return value.tolist()
    raise NotImplementedError(f"cannot store a {type(value).__name__}")


def encode(record: Any) -> bytes:
    """A record as one line of JSON."""
    return msgspec.json.encode(record, enc_hook=_to_builtin)


def decode(data: bytes, kind: type[T]) -> T:
    """A record from JSON, every field checked against its type.

    Raises:
        SchemaError: the text is cut off, damaged or of another shape.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise SchemaError(f"not a valid {kind.__name__}: {error}", value=data[:80]) from None


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a power cut, never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.chmod(name, 0o666 & ~_umask())  # temporary files are private, results are the user's to share
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """The process's file mode mask; the system tells it only while changing it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def write_record(path: Path, record: Any) -> None:
    """Store a record as indented JSON under its type's name and the schema number."""
    body = {"schema": SCHEMA, "type": type(record).__name__, "record": msgspec.Raw(encode(record))}
    write_bytes(path, msgspec.json.format(msgspec.json.encode(body), indent=2) + b"\n")


def read_record(path: Path, kind: type[T]) -> T:
    """Read what `write_record` wrote.

    Raises:
        SchemaError: the file is missing, damaged, of another type or another schema.
    """
    try:
        body = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
        schema, name, record = (bytes(body[key]) for key in ("schema", "type", "record"))
    except (OSError, msgspec.DecodeError, KeyError) as error:
        raise SchemaError(f"{path} is no readable record: {error}", value=str(path)) from None
    if msgspec.json.decode(schema) != SCHEMA:
        raise SchemaError(f"{path} has schema {schema.decode()}, this Tailor reads {SCHEMA}", value=str(path))
    if msgspec.json.decode(name) != kind.__name__:
        raise SchemaError(f"{path} holds a {name.decode()}, not a {kind.__name__}", value=str(path))
    return decode(record, kind)
