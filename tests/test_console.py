"""What is said where: results on standard output only, bars only for someone who watches."""

import io

import pytest

from tailor.console import ConsoleReporter, SilentReporter, table_text, terminal_columns


class Terminal(io.StringIO):
    """A stream that says somebody is looking."""

    def isatty(self) -> bool:
        return True


def test_in_a_pipe_lines_are_written_and_progress_is_not() -> None:
    stream = io.StringIO()
    with ConsoleReporter(stream) as console:
        console.stage("profile")
        console.progress("probes", 3, 10)
        console.say("dense 8.3 ms")
        console.warn("noisy host")
    assert stream.getvalue() == "[00:00] profile\n        dense 8.3 ms\nwarning: noisy host\n"


def test_on_a_terminal_progress_is_drawn_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with ConsoleReporter(stream) as console:
        console.progress("probes", 3, 10)
        console.progress("networks", 1, 2)
    text = stream.getvalue()
    assert "probes" in text
    assert "networks" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 2  # the cursor is given back for each bar


def test_the_bar_is_taken_away_when_the_work_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()

    def work(console: ConsoleReporter) -> None:
        console.progress("probes", 3, 10)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"), ConsoleReporter(stream) as console:
        work(console)
    assert stream.getvalue().count("\x1b[?25h") == 1


def test_nothing_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with ConsoleReporter() as console:
        console.stage("profile")
        console.say("found")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "profile" in captured.err


def test_the_silent_one_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    console = SilentReporter()
    console.stage("a")
    console.progress("b", 1, 2)
    console.say("c")
    console.warn("d")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_numbers_stand_to_the_right_and_brackets_are_no_markup() -> None:
    text = table_text(("layer", ">channels", ""), [("[bold]a", "8", "x"), ("b", "1024", "")])
    header, rule, first, second = text.splitlines()
    assert header.split() == ["layer", "channels"]
    assert set(rule) == {"─"}
    assert first.startswith("[bold]a ")
    assert first.index("8") == second.index("1024") + 3
    assert "\x1b" not in text


def test_only_the_last_column_is_folded() -> None:
    reason = "feeds an operator that is not understood, so its channels have to stay as they are"
    text = table_text(("pinned", "reason"), [("a.very.long.module.path", reason)], columns=60)
    lines = text.splitlines()
    assert "a.very.long.module.path" in text
    assert len(lines) > 3
    assert max(map(len, lines)) <= 60
    assert " ".join(" ".join(line.replace("a.very.long.module.path", "").split()) for line in lines[2:]) == reason


def test_pipes_are_wide() -> None:
    assert terminal_columns(io.StringIO()) == 160
