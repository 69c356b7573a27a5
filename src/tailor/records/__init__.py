"""What was observed: environments, timings, estimates, trials and verdicts, as frozen values.

Latencies are integer nanoseconds wherever they are stored, added or compared.
"""

from tailor.records.budget import Budget
from tailor.records.network import BranchSummary, GraphSummary, GroupLatencies, GroupSummary
from tailor.records.run import RunConfig
from tailor.records.search import NEAR, Anchor, Estimate, GradualRecord, SearchSummary, Trial, WidthsRecord
from tailor.records.timing import Conditions, Environment, Interval, Measurement, NodeTime, TimingSettings
from tailor.records.training import Epoch, TrainingResult
from tailor.records.verdict import Outcome, Reductions, Stages, Verdict

__all__ = [
    "NEAR",
    "Anchor",
    "BranchSummary",
    "Budget",
    "Conditions",
    "Environment",
    "Epoch",
    "Estimate",
    "GradualRecord",
    "GraphSummary",
    "GroupLatencies",
    "GroupSummary",
    "Interval",
    "Measurement",
    "NodeTime",
    "Outcome",
    "Reductions",
    "RunConfig",
    "SearchSummary",
    "Stages",
    "TimingSettings",
    "TrainingResult",
    "Trial",
    "Verdict",
    "WidthsRecord",
]
