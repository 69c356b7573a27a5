"""One look for all figures: drawn once in ink colours, then tied to the page's light or dark colours."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

__all__ = [
    "ACCENT",
    "GHOST",
    "HAIRLINE",
    "INK",
    "MARK",
    "SOFT",
    "bare_axes",
    "look",
    "new_figure",
    "page_svg",
    "save_figure",
]

# Each colour stands for one meaning. The hexadecimal values are the light ones; on the page they become variables.
PAPER = "#fdfcf9"
INK = "#20262b"
SOFT = "#66707a"
HAIRLINE = "#dcdbd4"
GHOST = "#cdd3d6"  # what the dense network had
ACCENT = "#1d5f86"  # what is kept, what was fitted
MARK = "#c4532f"  # what was chosen, what limits

_VARIABLES: Mapping[str, str] = {
    PAPER: "--paper",
    INK: "--ink",
    SOFT: "--soft",
    HAIRLINE: "--hairline",
    GHOST: "--ghost",
    ACCENT: "--accent",
    MARK: "--mark",
}

_LOOK: Mapping[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 11.5,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": HAIRLINE,
    "axes.facecolor": PAPER,
    "axes.titlesize": 11.5,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.titlepad": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 1.0,
    "axes.axisbelow": True,
    "figure.facecolor": PAPER,
    "grid.color": HAIRLINE,
    "grid.linewidth": 0.7,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "svg.fonttype": "none",  # text stays text: it can be read aloud, searched and set in the page's own type
    "svg.hashsalt": "tailor",  # the same run folder gives the same bytes
}


@contextmanager
def look() -> Iterator[None]:
    """Draw and save in the report's style; the process' own matplotlib settings come back afterwards."""
    with matplotlib.rc_context(dict(_LOOK)):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in CSS pixels, in no global registry."""
    figure = Figure(figsize=(width / 72, height / 72), layout=ConstrainedLayoutEngine(wspace=0.05, hspace=0.06))
    FigureCanvasSVG(figure)
    return figure


def bare_axes(axes: Axes) -> None:
    """Reduce axes to what carries meaning: a base line, and light lines at the heights that are labelled."""
    axes.grid(visible=True, axis="y")
    axes.spines["left"].set_visible(False)


def save_figure(figure: Figure, path: Path) -> None:
    """Write the figure to a file of its own, in the format that the name ends in and in the light colours."""
    with look():
        figure.savefig(path, dpi=144)


def page_svg(figure: Figure, name: str, description: str) -> str:
    """The figure as SVG for one HTML page: colours as CSS variables, identifiers unique to `name`, no fixed height."""
    buffer = io.StringIO()
    with look():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r'(\sid="|url\(#|xlink:href="#)', rf"\g<1>{name}-", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    width, height = (72 * inches for inches in figure.get_size_inches())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'aria-label="{html.escape(description)}" style="width:{width:.0f}px" viewBox="0 0 {width:g} {height:g}">'
        f"{body.rstrip()}"
    )
