"""The latency to reach, as the user typed it."""

from __future__ import annotations

from dataclasses import dataclass

from tailor.errors import InvalidBudgetError

__all__ = ["Budget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The latency to reach: a share of the dense network's, or a time. Parsed from "60%" or "5ms"."""

    text: str
    share: float | None = None
    ns: int | None = None

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read "60%", "0.5s", "5ms", "800us" or "90000ns".

        Raises:
            InvalidBudgetError: for anything else, for zero, negative times, and shares of 100 % or more.
        """
        cleaned = text.strip().lower().replace(" ", "")
        units = {"ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9}
        unit = next((u for u in ("%", *units) if cleaned.endswith(u)), None)
        way_out = 'give a share of the dense latency such as "60%" or a time such as "5ms"'
        try:
            number = float(cleaned.removesuffix(unit or ""))
        except ValueError:
            raise InvalidBudgetError(f"budget {text!r} is not a latency: {way_out}", value=text) from None
        if unit is None:
            raise InvalidBudgetError(f"budget {text!r} has no unit: {way_out}", value=text)
        if not 0 < number < float("inf"):
            raise InvalidBudgetError(f"budget {text!r} must be above zero: {way_out}", value=text)
        if unit == "%":
            if number >= 100:
                raise InvalidBudgetError(f"budget {text!r} is no reduction: give a share below 100%", value=text)
            return cls(text=cleaned, share=number / 100)
        return cls(text=cleaned, ns=round(number * units[unit]))

    def limit_ns(self, dense_ns: int) -> int:
        """The latency allowed when the dense network takes `dense_ns`."""
        if self.ns is not None:
            return self.ns
        return int((self.share or 0.0) * dense_ns)
