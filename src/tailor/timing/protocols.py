"""Timing protocols by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tailor.errors import UnknownNameError
from tailor.records import TimingSettings

__all__ = ["PROTOCOLS", "PROTOCOL_BATCH", "settings_named"]

PROTOCOLS: Mapping[str, TimingSettings] = {
    "default": TimingSettings(),
    "quick": TimingSettings(
        name="quick", min_rounds=7, max_rounds=15, half_width=0.02, max_seconds=20.0, sample_seconds=0.0005,
        warmup_seconds=0.1,
    ),
    "precise": TimingSettings(name="precise", min_rounds=20, max_rounds=400, half_width=0.005, max_seconds=180.0),
    # The protocol of the LACP paper (Liu et al. 2021): 10 warm-up runs, then the mean of 300 single runs, batch 128.
    "lacp": TimingSettings(
        name="lacp", min_rounds=300, max_rounds=300, half_width=0.0, max_seconds=7200.0, sample_seconds=0.0,
        prime_seconds=0.0, fixed_warmup=10, statistic="mean",
    ),
}

PROTOCOL_BATCH: Mapping[str, int] = {"lacp": 128}  # protocols that prescribe a batch size


def settings_named(name: str, *, seed: int = 0) -> TimingSettings:
    """The timing settings of a protocol, with the seed that shuffles its rounds.

    Raises:
        UnknownNameError: listing the protocols there are.
    """
    try:
        return replace(PROTOCOLS[name], seed=seed)
    except KeyError:
        known = ", ".join(PROTOCOLS)
        raise UnknownNameError(f"no timing protocol {name!r}; there are {known}", value=name) from None
