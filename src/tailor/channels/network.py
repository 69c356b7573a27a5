"""A network that executes a program: parameters at the keys of the model it came from, every channel count a buffer.

The length of such a buffer is the count. So surgery, which shortens tensors, rewrites the numbers in the code too, and
whatever copies, stores or moves a network's tensors takes its channel counts along.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tailor.channels.copying import named_tensors
from tailor.channels.execution import Observer, Plan
from tailor.channels.program_layers import layer_of
from tailor.program import COUNTS, Program
from tailor.spec import ChannelGraph

__all__ = ["Counts", "GraphNetwork", "network_of"]


class Counts(nn.Module):
    """The channel counts of a network: one buffer each, and their lengths as plain numbers."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor, persistent=False)  # a state dict holds what the model's own would
        self.refit()

    def refit(self) -> None:
        """Read the numbers off the buffers again."""
        self.numbers = {name: int(tensor.shape[0]) for name, tensor in self.named_buffers()}


class GraphNetwork(nn.Module):
    """Executes a program; trains, is copied, cut and stored like any other module.

    Convolutions, linear layers and BatchNorms are the modules of torch.nn; everything else is called as the operator
    that it is. It takes inputs of the sizes it was made with and any batch size.
    """

    def __init__(self, program: Program, tensors: Mapping[str, Tensor]) -> None:
        """Put tensors (by state-dict key, shared and not copied) into a program; counts may be among them.

        Raises:
            SchemaError: the program cannot be executed, or tensors are missing.
        """
        super().__init__()
        self.channel_plan = Plan(program)
        self.channel_observer: Observer | None = None
        own = {path: tensor for path, tensor in tensors.items() if not path.startswith(f"{COUNTS}.")}
        for path, layer in sorted(program.layers.items()):
            holder, name = _holder(self, path)
            holder.add_module(name, layer_of(path, layer, own))
        parameters, transient = frozenset(program.parameters), frozenset(program.transient)
        for path, tensor in own.items():
            _place(self, path, tensor, parameter=path in parameters, persistent=path not in transient)
        counts = {
            path.partition(".")[2]: tensors.get(path, torch.zeros(number, dtype=torch.uint8))
            for path, number in program.counts.items()
        }
        self.add_module(COUNTS, Counts(counts))

    @property
    def channel_program(self) -> Program:
        """The calls that forward makes."""
        return self.channel_plan.program

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs in the containers that the model returned them in.

        Raises:
            TraceError: inputs of other number or sizes than the program was made with.
        """
        counts: Counts = self._modules[COUNTS]  # type: ignore[assignment]
        return self.channel_plan.run(self, counts.numbers, args, kwargs, self.channel_observer)


def network_of(model: nn.Module, graph: ChannelGraph) -> nn.Module:
    """The network that a graph speaks of: the model itself, or its exported form, which shares the model's tensors."""
    if graph.program is None or isinstance(model, GraphNetwork):
        return model
    network = GraphNetwork(graph.program, named_tensors(model))
    modes = {name: module.training for name, module in model.named_modules()}
    for name, module in network.named_modules():
        module.training = modes.get(name, model.training)
    return network


def _holder(root: nn.Module, path: str) -> tuple[nn.Module, str]:
    """The module that the last part of a path belongs to; plain ones are made where there are none."""
    *parents, name = path.split(".")
    module = root
    for part in parents:
        if module._modules.get(part) is None:
            module.add_module(part, nn.Module())
        module = module._modules[part]  # type: ignore[assignment]
    return module, name


def _place(root: nn.Module, path: str, tensor: Tensor, *, parameter: bool, persistent: bool) -> None:
    holder, name = _holder(root, path)
    if parameter:
        holder.register_parameter(name, tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor))
    elif name in holder._buffers:
        holder._buffers[name] = tensor
    else:
        holder.register_buffer(name, tensor, persistent=persistent)
