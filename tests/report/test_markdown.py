"""Markdown keeps the words what they are."""

import pytest

from tailor.report.document import Code, Document, Facts, Number, Section, Table
from tailor.report.markdown import markdown_page


@pytest.fixture
def page() -> str:
    table = Table(headers=("group", ">dense"), rows=(("layer1.0|a_b", "16"), ("two\nlines", "32")), bars=(1.0, 0.5))
    return markdown_page(
        Document(
            title="my_model",
            subtitle="torch on cpu",
            outcome="PASS",
            line="budget 5.00 ms -> measured 4.91 ms",
            reason="",
            warnings=("a *noisy* host",),
            numbers=(Number(label="latency", before="8 ms", after="5 ms", change="-37.5 %"),),
            sections=(
                Section(
                    title="Widths", lead="Cut.", blocks=(table, Facts(rows=(("a", "b"),)), Code(text="tailor x_y"))
                ),
            ),
        )
    )


def test_cells_cannot_break_their_table(page: str) -> None:
    assert "| layer1.0\\|a\\_b | 16 |" in page
    assert "| two lines | 32 |" in page
    assert "|---|---:|" in page


def test_names_keep_their_underscores_and_stars(page: str) -> None:
    assert page.startswith("# my\\_model\n")
    assert "> Warning: a \\*noisy\\* host" in page


def test_code_is_literal_and_numbers_are_a_table(page: str) -> None:
    assert "```\ntailor x_y\n```" in page
    assert "| latency | 8 ms | 5 ms | -37.5 % |" in page
    assert page.endswith("\n")
