"""Where and how a network runs."""

from __future__ import annotations

from dataclasses import dataclass

from tailor.errors import InvalidOptionError

__all__ = ["Target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where and how the network will run; part of every measurement's key."""

    engine: str = "torch"
    device: str = "cpu"
    batch_size: int = 1
    threads: int = 1
    precision: str = "fp32"
    layout: str = "contiguous"

    def __post_init__(self) -> None:
        for name in ("batch_size", "threads"):
            value = getattr(self, name)
            if value < 1:
                raise InvalidOptionError(f"{name} must be at least 1, not {value}", value=value)

    def __str__(self) -> str:
        threads = "" if self.device.startswith("cuda") else f", {self.threads} thread{'s' * (self.threads > 1)}"
        return f"{self.engine} on {self.device}, batch {self.batch_size}{threads}, {self.precision}, {self.layout}"
