"""What a run says while it works: stage lines always, progress bars only where someone can watch them.

Everything here goes to standard error, so that standard output holds results and nothing else; only tables, which
are results, go to standard output.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["ConsoleReporter", "Reporter", "SilentReporter", "table_text", "terminal_columns"]

_PIPE_COLUMNS = 160  # wide enough that no reason is folded when the output is read by a program


class Reporter(Protocol):
    """Where the pipeline tells what it is doing."""

    def stage(self, title: str) -> None:
        """A new stage begins."""

    def progress(self, text: str, done: int, total: int) -> None:
        """So much of the present work is done."""

    def say(self, line: str) -> None:
        """A finding worth reading."""

    def warn(self, line: str) -> None:
        """Something the user should know before trusting the result."""


class SilentReporter:
    """Says nothing: for use from Python, where the result object tells everything."""

    def stage(self, title: str) -> None:
        """Ignore the stage."""

    def progress(self, text: str, done: int, total: int) -> None:
        """Ignore the progress."""

    def say(self, line: str) -> None:
        """Ignore the finding."""

    def warn(self, line: str) -> None:
        """Ignore the warning."""


class ConsoleReporter:
    """Stage, finding and warning lines on a stream; a progress bar with time left when the stream is a terminal.

    Used as a context manager it always takes the bar off the terminal again, also after an error or Ctrl-C.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._watched = self._stream.isatty()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._text = ""
        self._started = time.monotonic()

    def __enter__(self) -> ConsoleReporter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stage(self, title: str) -> None:
        """Print the stage with the time since the start, which dates every line of a log."""
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        self._line(f"[{minutes:02d}:{seconds:02d}] {title}")

    def progress(self, text: str, done: int, total: int) -> None:
        """Move the bar of this text; a new text begins a new bar. Nothing at all when nobody watches."""
        if not self._watched:
            return
        if text != self._text or self._bar is None:
            self._open(text)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total)
        if done >= total:
            self.close()

    def say(self, line: str) -> None:
        """Print a finding, set under its stage."""
        self._line(f"        {line}")

    def warn(self, line: str) -> None:
        """Print a warning that can be searched for by its first word."""
        self._line(f"warning: {line}")

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._bar is not None:
            self._bar.stop()
        self._bar, self._task, self._text = None, None, ""

    def _line(self, line: str) -> None:
        self.close()
        print(line, file=self._stream, flush=True)

    def _open(self, text: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.close()
        columns = (TextColumn("        {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(file=self._stream), transient=True)
        self._bar.start()
        self._task = self._bar.add_task(text)
        self._text = text


def terminal_columns(stream: TextIO) -> int:
    """Columns a table may use: the terminal's own, or a fixed wide number for pipes and files."""
    if not stream.isatty():
        return _PIPE_COLUMNS
    from rich.console import Console

    return Console(file=stream).width


def table_text(headers: Sequence[str], rows: Iterable[Sequence[str]], *, columns: int = _PIPE_COLUMNS) -> str:
    """A plain table: columns aligned (numbers to the right), a hairline under the headers, no colours.

    Only the last column is folded when the table is wider than `columns`. A header that begins with ">" marks a
    column set to the right.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="")
    for place, header in enumerate(headers):
        side: Literal["left", "right"] = "right" if header.startswith(">") else "left"
        table.add_column(Text(header.removeprefix(">")), justify=side, no_wrap=place < len(headers) - 1)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text: brackets in layer names are no markup
    console = Console(width=columns, no_color=True, highlight=False, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
