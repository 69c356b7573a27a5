"""The document as one self-contained HTML page: no scripts, no network, light and dark, fit to print."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tailor.report.document import Document

__all__ = ["html_page"]


def html_page(document: Document) -> str:
    """The page; every text is escaped, only the figures' own SVG is taken literally."""
    pages = Environment(
        loader=PackageLoader("tailor.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    stylesheet = files("tailor.report").joinpath("page.css").read_text(encoding="utf-8")
    return pages.get_template("page.html.j2").render(document=document, stylesheet=Markup(stylesheet))
