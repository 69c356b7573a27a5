"""What can go wrong, as types: every error carries the value that caused it and the exit code it deserves."""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "BudgetUnreachableError",
    "CutError",
    "DataError",
    "DatabaseError",
    "InvalidBudgetError",
    "InvalidOptionError",
    "MeasurementError",
    "MissingDependencyError",
    "NothingToPruneError",
    "ProofError",
    "RunFolderError",
    "SchemaError",
    "TailorError",
    "TraceError",
    "TrainingError",
    "UnknownNameError",
    "WeightsError",
]


class TailorError(Exception):
    """A failure that names its cause: `value` is what was given, the message is one line with the way out."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, value: object = None) -> None:
        super().__init__(message)
        self.value = value

    def __str__(self) -> str:  # KeyError would quote its message
        return str(self.args[0])


class InvalidOptionError(TailorError, ValueError):
    """An option or argument has a value that means nothing here."""

    exit_code = 2


class InvalidBudgetError(InvalidOptionError):
    """A budget that is no time and no share of the dense latency."""


class UnknownNameError(TailorError, LookupError):
    """A name (model, method, engine, data set, group) that nothing here answers to."""

    exit_code = 2


class MissingDependencyError(TailorError, ImportError):
    """An optional package that the request needs is not installed."""


class TraceError(TailorError, ValueError):
    """The model could not be run on the example inputs, or its run could not be followed."""


class NothingToPruneError(TailorError, ValueError):
    """No group of channels may be cut; the message lists why."""


class CutError(TailorError, ValueError):
    """A keep plan does not fit the graph, or surgery is impossible."""


class ProofError(CutError):
    """The cut network differs from the masked dense one; `value` names the groups."""


class BudgetUnreachableError(TailorError, ValueError):
    """The fastest network that the graph allows still misses the budget."""

    exit_code = 3


class MeasurementError(TailorError, RuntimeError):
    """The device could not run or time a subject."""


class WeightsError(TailorError, ValueError):
    """Weights are missing, truncated, or do not fit the model."""


class TrainingError(TailorError, RuntimeError):
    """A network could not be trained: nothing may be trained, or the loss left the numbers."""


class DataError(TailorError, ValueError):
    """A data set is missing, empty or of the wrong layout."""


class DatabaseError(TailorError, OSError):
    """The measurement database is unreadable or of another version."""


class RunFolderError(TailorError, OSError):
    """A run folder is missing, occupied or incomplete."""


class SchemaError(TailorError, ValueError):
    """A stored file is damaged or was written by another version."""
