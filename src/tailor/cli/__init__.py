"""The command line: parse, call, print, exit code. Errors are one line; torch is imported only by what needs it."""

from tailor.cli import inspecting, measuring, running
from tailor.cli.group import cli, main

__all__ = ["cli", "inspecting", "main", "measuring", "running"]
