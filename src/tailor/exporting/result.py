"""What became of each format, as records."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ExportReport", "Exported"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """One format: the files written and how far their outputs are from the network's, or why there are none.

    `difference` is the largest one of any output, relative to that output's largest entry, over the batch sizes in
    `batches`; `reader` read the files back. `failure` is None when the format is sound.
    """

    format: str
    files: tuple[str, ...] = ()
    bytes: int = 0
    writer: str = ""
    reader: str = ""
    batches: tuple[int, ...] = ()
    difference: float | None = None
    seconds: float = 0.0
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """All formats asked for; `batch_size` None means any; `denormals` weights were set to zero before."""

    network: str
    batch_size: int | None
    tolerance: float
    denormals: int
    formats: tuple[Exported, ...]

    @property
    def sound(self) -> bool:
        """Whether every format was written and gives the network's outputs."""
        return all(each.failure is None for each in self.formats)
