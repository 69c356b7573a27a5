"""Times callables side by side: shuffled rounds, warm-up by test, a stopping rule, levels with intervals.

The unit is the round: every subject once, in a fresh random order, so that clock drift and neighbours hit all of
them alike and cancel in paired ratios. Nothing here knows a framework; a subject is a callable without arguments.
"""

from tailor.timing.intervals import (
    aa_resolution,
    claimable_step,
    mean_interval,
    median_interval,
    quickest_interval,
    ratio_interval,
    summary_interval,
)
from tailor.timing.moments import counted, steadied
from tailor.timing.protocols import PROTOCOL_BATCH, PROTOCOLS, settings_named
from tailor.timing.quickest import SHARES, quickest_values
from tailor.timing.rounds import SAMPLING, Rounds, describe_failure, drift_of, sample_cost, sample_rounds

__all__ = [
    "PROTOCOLS",
    "PROTOCOL_BATCH",
    "SAMPLING",
    "SHARES",
    "Rounds",
    "aa_resolution",
    "claimable_step",
    "counted",
    "describe_failure",
    "drift_of",
    "mean_interval",
    "median_interval",
    "quickest_interval",
    "quickest_values",
    "ratio_interval",
    "sample_cost",
    "sample_rounds",
    "settings_named",
    "steadied",
    "summary_interval",
]
