"""One run of a stressed copy under the eyes of the ledger."""

from __future__ import annotations

from torch import nn

from tailor.calling import Inputs
from tailor.channels.network import GraphNetwork
from tailor.channels.run import Run
from tailor.channels.stress import Stressed, stressed

__all__ = ["watched"]


def watched(model: nn.Module, inputs: Inputs, mixing: str, seed: int) -> tuple[Stressed, Run]:
    """The stressed copy that accepted the inputs, and the run that followed its channels.

    Raises:
        TraceError: the model refused the inputs.
    """
    runs: list[Run] = []

    def watch(twin: nn.Module) -> Run:
        runs.append(Run(twin, mixing))
        if isinstance(twin, GraphNetwork):
            twin.observer = runs[-1].count
        return runs[-1]

    stand = stressed(model, inputs, seed, watch)
    if isinstance(stand.model, GraphNetwork):
        stand.model.observer = None
    runs[-1].pin_outputs(stand.output)
    return stand, runs[-1]
