"""Errors are one line, keep the value that caused them, and carry the exit code."""

import inspect

import pytest

from tailor import errors
from tailor.errors import TailorError

KINDS = [getattr(errors, name) for name in errors.__all__]
EXIT_CODES = {
    "InvalidOptionError": 2,
    "InvalidBudgetError": 2,
    "UnknownNameError": 2,
    "BudgetUnreachableError": 3,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_a_tailor_error_with_its_exit_code(kind):
    assert issubclass(kind, TailorError)
    assert kind.exit_code == EXIT_CODES.get(kind.__name__, 1)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not TailorError])
def test_every_error_is_also_a_builtin_that_callers_know(kind):
    builtin = {base for base in inspect.getmro(kind) if base.__module__ == "builtins"}
    assert builtin - {Exception, BaseException, object}


@pytest.mark.parametrize("kind", KINDS)
def test_message_is_printed_as_written_and_the_value_kept(kind):
    error = kind("no 'x'; known are a, b", value="x")
    assert str(error) == "no 'x'; known are a, b"
    assert error.value == "x"
    assert kind("without a value").value is None


def test_all_lists_every_error():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    defined = {kind.__name__ for kind in kinds if kind.__module__ == "tailor.errors"}
    assert defined == set(errors.__all__)
