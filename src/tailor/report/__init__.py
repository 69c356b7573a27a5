"""From a run folder to report.html, report.md and report.json: a pure function of the folder's files."""

from __future__ import annotations

from pathlib import Path

from tailor.report.wording import verdict_line

__all__ = ["verdict_line", "write_report"]


def write_report(folder: Path) -> Path:
    """Write the report of a run into its folder and return the path of report.html.

    Raises:
        RunFolderError: the folder does not exist or holds no run.
        SchemaError: one of its files is damaged or of another version.
    """
    from tailor.report.compose import compose, summarise  # figures take a third of a second to import
    from tailor.report.folder import read_run
    from tailor.report.html import html_page
    from tailor.report.markdown import markdown_page
    from tailor.serialize import write_bytes, write_record

    run = read_run(folder)
    document = compose(run)
    page = folder / "report.html"
    write_bytes(page, html_page(document).encode())
    write_bytes(folder / "report.md", markdown_page(document).encode())
    write_record(folder / "report.json", summarise(run))
    return page
