"""All methods side by side, from the same start."""

from tailor.comparison.rows import ComparedRun, Comparison
from tailor.comparison.running import CompareRequest, compare

__all__ = ["CompareRequest", "ComparedRun", "Comparison", "compare"]
