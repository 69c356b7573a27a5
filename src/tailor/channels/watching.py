"""One run of a stressed copy under the eyes of the ledger."""

from __future__ import annotations

from torch import nn

from tailor.calling import Inputs, output_tensors
from tailor.channels.network import GraphNetwork
from tailor.channels.run import Run
from tailor.channels.stress import Stressed, stressed
from tailor.errors import TraceError

__all__ = ["watched"]


def watched(model: nn.Module, inputs: Inputs, mixing: str, seed: int) -> tuple[Stressed, Run]:
    """The stressed copy that accepted the inputs, and the run that followed its channels.

    Raises:
        TraceError: the model refused the inputs, or answers with nothing.
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
    run = runs[-1]
    run.pin_outputs(stand.output)
    if not run.ledger.selects and not any(tensor.numel() for tensor in output_tensors(stand.output)):
        raise TraceError("the model answers with empty tensors, so no cut could be proven", value=stand.output)
    run.pin_undecided()
    return stand, run
