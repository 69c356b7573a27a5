"""Arithmetic ties: operands combined element by element make their identities one."""

from __future__ import annotations

import torch
from torch import Tensor

from tailor.channels.identity import Ledger, common_shape, slim, varying
from tailor.channels.rules.call import Call, Follower, Rule, tensors_in

__all__ = ["ARITHMETIC", "combine"]


def combine(run: Follower, call: Call) -> None:
    """Two operands combined element by element make their identities one."""
    out = tensors_in(call.out)[0]
    merged: list[Tensor] = []
    constant: list[Tensor] = []
    strangers: list[Tensor] = []
    adds = call.name in {"add", "add_", "sub", "sub_"}
    for operand in call.inputs:
        tracks = run.tracks(operand)
        for track in tracks:
            wide = track.expand(common_shape(track.shape, out.shape))
            if varying(wide):
                _merge(run.ledger, merged, wide, adds and run.weight_path(operand) is None)
            else:
                constant.append(wide)
        if not tracks:
            strangers.append(operand)
    _merge_constant(run.ledger, merged, constant)
    _pin_beside_strangers(run.ledger, merged, strangers)
    run.follow(out, tuple(merged))
    weights = [operand for operand in call.inputs if run.weight_path(operand) and operand.shape == out.shape]
    if len(weights) == 1:  # a weight scaled or masked in forward is still that weight
        run.derive(out, weights[0])


def _pin_beside_strangers(ledger: Ledger, merged: list[Tensor], strangers: list[Tensor]) -> None:
    """A tensor without identities (an input, a constant, what an unknown operator returned) cannot be cut along."""
    for stranger in strangers:
        for track in merged:
            sizes = (*[1] * (track.ndim - stranger.ndim), *stranger.shape)
            if any(sizes[dim] > 1 for dim in varying(track)):
                ledger.pin((track,), "combined with a tensor that is no parameter and has as many channels")


def _merge(ledger: Ledger, merged: list[Tensor], track: Tensor, adds: bool) -> None:
    """Tie a track to the one that differs along a common dimension; unrelated tracks live on side by side."""
    for number, known in enumerate(merged):
        if varying(known) & varying(track):
            ledger.tie(known, track)
            if adds:
                ledger.mark_residual(torch.where((known != track) & (track > 0), known, 0))
            merged[number] = slim(torch.where(known == 0, track, known))
            return
    merged.append(track)


def _merge_constant(ledger: Ledger, merged: list[Tensor], constant: list[Tensor]) -> None:
    """A single channel broadcast over many (a one-channel gate) ties nothing and must stay."""
    if merged:
        ledger.pin(constant, "a single channel broadcast over others")
    elif constant:
        for track in constant[1:]:
            ledger.tie(constant[0], track)
        merged.append(constant[0])


# Element-wise operators that PyTorch does not tag as pointwise in every release.
_ELEMENTWISE = """relu relu_ hardtanh hardtanh_ silu silu_ hardswish hardswish_ hardsigmoid hardsigmoid_ leaky_relu
    leaky_relu_ gelu elu elu_ celu mish mish_ sigmoid sigmoid_ tanh _prelu_kernel softplus where clamp clamp_
    fill_ zeros_like ones_like empty_like full_like zero_ masked_fill masked_fill_"""

ARITHMETIC: dict[str, Rule] = dict.fromkeys(_ELEMENTWISE.split(), combine)
