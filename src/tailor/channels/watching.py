"""One run of a stressed copy under the eyes of the ledger."""

from __future__ import annotations

import warnings

from torch import nn

from tailor.calling import Inputs, call_model, output_tensors, quiet
from tailor.channels.identity import module_name
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
            twin.channel_observer = runs[-1].count
        return runs[-1]

    stand = stressed(model, inputs, seed, watch)
    if isinstance(stand.model, GraphNetwork):
        stand.model.channel_observer = None
    run = runs[-1]
    run.pin_outputs(stand.output)
    if not run.ledger.selects and not any(tensor.numel() for tensor in output_tensors(stand.output)):
        raise TraceError("the model answers with empty tensors, so no cut could be proven", value=stand.output)
    if run.unseen:
        _pin_training_only(run, stand)
    run.pin_undecided()
    return stand, run


def _pin_training_only(run: Run, stand: Stressed) -> None:
    """Auxiliary heads run in training alone: no proof sees them, so the channels that they read must stay.

    Only modules with children are put in training mode: norms and dropout stay as they are.
    """
    twin = stand.model
    with quiet(twin):
        for module in twin.modules():
            module.training = any(True for _ in module.children())
        try:
            with run.pinning_newcomers("read by a layer that runs in training only"):
                output = call_model(twin, stand.inputs)
        except TraceError:
            name = module_name(run.unseen)
            warnings.warn(f"{name} ran neither in evaluation nor in training: a cut may leave it misfit", stacklevel=3)
        else:
            run.pin_outputs(output)
