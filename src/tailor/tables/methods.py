"""What `tailor methods` prints: every recipe, and the pieces it is made of."""

from __future__ import annotations

from collections.abc import Iterable

from tailor.console import table_text
from tailor.methods import Method

__all__ = ["methods_text"]

_GRIDS = {"edges": "edges of stairs", "tenths": "tenths", "all": "all widths"}


def methods_text(methods: Iterable[Method], columns: int) -> str:
    """Name, channels, widths, search, score and what it is, one method a line."""
    headers = ("method", "channels by", "widths", "search", "score", "what it is")
    rows = [
        (
            method.name,
            method.importance,
            _GRIDS[method.grid],
            type(method.search).__name__.removesuffix("Config").lower(),
            method.fitness,
            method.summary,
        )
        for method in methods
    ]
    return table_text(headers, rows, columns=columns)
