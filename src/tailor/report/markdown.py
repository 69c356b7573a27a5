"""The document as Markdown: the same words and tables, the figures by their captions."""

from __future__ import annotations

from tailor.report.document import Block, Code, Document, Facts, Picture, Table

__all__ = ["markdown_page"]


def markdown_page(document: Document) -> str:
    """GitHub-flavoured Markdown, every line ending in a newline."""
    parts = [f"# {_plain(document.title)}", document.subtitle, f"**{document.outcome}**: `{document.line}`"]
    parts += [_plain(document.reason)] if document.reason else []
    parts += [f"> Warning: {_plain(warning)}" for warning in document.warnings]
    if document.numbers:
        rows = tuple((number.label, number.before, number.after, number.change) for number in document.numbers)
        parts.append(_table(("metric", ">dense", ">pruned", ">change"), rows))
    for section in document.sections:
        parts += [f"## {section.title}", _plain(section.lead)]
        parts += [_block(block) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    if isinstance(block, Facts):
        return _table(("", ""), block.rows)
    if isinstance(block, Table):
        return _table(block.headers, block.rows)
    if isinstance(block, Picture):
        return f"*Figure in report.html: {_plain(block.caption)}*"
    if isinstance(block, Code):
        return f"```\n{block.text}\n```"
    raise TypeError(f"no Markdown for a {type(block).__name__}")


def _table(headers: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> str:
    lines = [
        "| " + " | ".join(header.removeprefix(">") for header in headers) + " |",
        "|" + "|".join("---:" if header.startswith(">") else "---" for header in headers) + "|",
    ]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|").replace("\n", " ")


def _plain(text: str) -> str:
    """Text in which underscores and stars of module names stay what they are."""
    for sign in ("\\", "*", "_", "`", "<"):
        text = text.replace(sign, f"\\{sign}")
    return text
