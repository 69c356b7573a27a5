"""The report as a document without a format: sections of facts, tables, figures and code, rendered elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Block", "Code", "Document", "Facts", "Number", "Picture", "Section", "Table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Named values, one per line."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under headers. A header that begins with ">" marks a column of numbers, set to the right.

    `bars` holds one share (0 to 1) per row, drawn as a bar where the format can draw; `folded` is the line under
    which a long table hides until it is opened, None for a table that is always open.
    """

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bars: tuple[float, ...] = ()
    folded: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A figure as SVG and what it shows; formats without figures print the caption alone."""

    svg: str
    caption: str
    folded: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Text to be taken literally: a command."""

    text: str


Block = Facts | Table | Picture | Code


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A titled part; `lead` is the one sentence that a hurried reader needs."""

    title: str
    lead: str
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One large number of the report's head: what it is, before, after, and the change."""

    label: str
    before: str
    after: str
    change: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The whole report: head, verdict, the large numbers, and the sections."""

    title: str
    subtitle: str
    outcome: str
    line: str
    reason: str
    warnings: tuple[str, ...]
    numbers: tuple[Number, ...]
    sections: tuple[Section, ...]
