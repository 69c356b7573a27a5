"""The command `tailor`: its group, its exit code, and errors as one line on standard error."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence

import click

from tailor.errors import TailorError

__all__ = ["cli", "main"]

_INTERRUPTED = 130  # what a shell reports after Ctrl-C


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tailor-prune", prog_name="tailor")
@click.pass_context
def cli(context: click.Context) -> int:
    """Cut a trained CNN to a latency measured on the machine that will run it.

    MODEL is torchvision/NAME, timm/NAME, tailor/NAME or path/to/file.py:function. Exit codes: 0 pass, 1 error,
    2 usage, 3 budget missed, 4 undecided.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
    return 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code; a failure is one line on standard error.

    TAILOR_TRACEBACK=1 shows where an error came from.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli.main(args=words, prog_name="tailor", standalone_mode=False, obj=shlex.join(["tailor", *words]))
    except click.ClickException as error:
        code = _fail(_with_help(error), 2)
    except click.Abort:  # click's name for Ctrl-C
        code = _fail("stopped; a run goes on with the same command and --resume", _INTERRUPTED)
    except (TailorError, OSError) as error:
        if os.environ.get("TAILOR_TRACEBACK") == "1":
            raise
        code = _fail(_told(error), getattr(error, "exit_code", 1))
    sys.exit(code)


def _with_help(error: click.ClickException) -> str:
    """What click says is wrong, and where the right way is written."""
    context = getattr(error, "ctx", None)
    where = f"; see `{context.command_path} --help`" if context is not None else ""
    return f"{error.format_message().rstrip('.')}{where}"


def _told(error: TailorError | OSError) -> str:
    """The message, without the number that the system puts before its own."""
    if isinstance(error, TailorError) or not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def _fail(message: str, code: int) -> int:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return code
