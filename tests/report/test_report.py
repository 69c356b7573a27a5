"""The report as a whole: a pure function of the folder's files, complete, self-contained and safe to open."""

import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

import sample_run
from tailor.errors import RunFolderError
from tailor.records import Outcome
from tailor.report import verdict_line, write_report
from tailor.report.compose import ReportSummary
from tailor.report.style import ACCENT, GHOST, HAIRLINE, INK, MARK, SOFT
from tailor.serialize import read_record, write_record

PAGES = ("report.html", "report.md", "report.json")
FILES = (
    "config.json",
    "environment.json",
    "graph.json",
    "profile.json",
    "search.json",
    "trials.jsonl",
    "widths.json",
    "training.json",
    "stages.json",
    "reductions.json",
    "verdict.json",
)
TITLES = (
    "Verification",
    "Accuracy at each stage",
    "Fine-tuning",
    "Widths",
    "Pinned, and why",
    "Staircases",
    "Latency model",
    "Search",
    "How to do it again",
    "Conditions",
)
VOID = {"meta", "link", "br", "img"}


class Page(HTMLParser):
    """Tags in balance, ids, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href"):
                self.links.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.handle_starttag(tag, attrs)
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page_of(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def test_the_same_files_give_the_same_bytes_wherever_they_lie(run_folder: Path, tmp_path: Path) -> None:
    write_report(run_folder)
    first = {name: (run_folder / name).read_bytes() for name in PAGES}
    moved = tmp_path / "elsewhere"
    shutil.copytree(run_folder, moved)
    write_report(moved)
    assert {name: (moved / name).read_bytes() for name in PAGES} == first


def test_the_page_is_well_formed_and_needs_nothing_from_outside(run_folder: Path) -> None:
    text = page_of(run_folder)
    page = Page(text)
    assert page.open == []
    assert all(link.startswith("#") for link in page.links)
    assert "<script" not in text
    assert "@import" not in text
    assert set(re.findall(r"https?://[^\"' ]+", text)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_figures_share_a_page_without_sharing_identifiers(run_folder: Path) -> None:
    page = Page(page_of(run_folder))
    assert [name for name, times in Counter(page.ids).items() if times > 1] == []
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)


def test_figures_follow_the_light_and_the_dark_page(run_folder: Path) -> None:
    text = page_of(run_folder)
    figures = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    assert "var(--accent)" in figures
    for colour in (ACCENT, GHOST, HAIRLINE, INK, MARK, SOFT):
        assert colour not in figures


def test_the_verdict_comes_first_and_every_part_is_there(run_folder: Path) -> None:
    text = Page(page_of(run_folder)).text
    markdown = (run_folder / "report.md").read_text(encoding="utf-8")
    line = verdict_line(sample_run.verdict(), None)
    assert line in text
    assert line in markdown
    assert text.index(line) < text.index("Verification")
    for title in TITLES:
        assert title in text
        assert f"## {title}" in markdown
    for words in ("feeds the output of the model", "Cut 8 of 13 groups; 4 kept whole; 1 pinned", "tailor prune tailor"):
        assert words in text
        assert words in markdown


def test_text_from_outside_cannot_become_markup(run_folder: Path) -> None:
    text = page_of(run_folder)
    assert "Example CPU &lt;Zen&gt; &amp; co" in text
    assert "<Zen>" not in text


@pytest.mark.parametrize("name", FILES)
def test_a_run_without_one_of_its_files_is_reported_and_the_gap_is_named(run_folder: Path, name: str) -> None:
    (run_folder / name).unlink()
    text = Page(page_of(run_folder)).text
    assert f"This run folder lacks {name}" in text
    assert read_record(run_folder / "report.json", ReportSummary).missing == (name,)


def test_a_run_with_a_configuration_alone_is_reported_as_unfinished(tmp_path: Path) -> None:
    write_record(tmp_path / "config.json", sample_run.config())
    text = Page(page_of(tmp_path)).text
    assert "NO VERDICT YET" in text
    assert "Continue it with --resume" in text


def test_a_missed_budget_is_shown_as_one(run_folder: Path) -> None:
    write_record(run_folder / "verdict.json", sample_run.verdict(Outcome.FAIL))
    text = page_of(run_folder)
    assert 'class="verdict fail"' in text
    assert read_record(run_folder / "report.json", ReportSummary).outcome == "FAIL"


def test_an_empty_folder_gets_no_report(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []
