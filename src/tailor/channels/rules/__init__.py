"""One rule per operator family: what an ATen operator does to the identities of the channels that it reads.

Data movement is executed on the identities themselves. Arithmetic ties. Contraction consumes one set and emits
another. Normalisation ties its parameters and passes through. Anything else pins what it touches, with its name.
"""

from __future__ import annotations

from typing import Any

import torch

from tailor.channels.rules.arithmetic import ARITHMETIC, combine
from tailor.channels.rules.attention import ATTENTION
from tailor.channels.rules.call import Call, Follower, Rule, Tracks, tensors_in
from tailor.channels.rules.contraction import CONTRACTION
from tailor.channels.rules.movement import MOVEMENT
from tailor.channels.rules.normalisation import NORMALISATION
from tailor.channels.rules.reduction import REDUCTION
from tailor.channels.rules.selection import DRAWS, SELECTION

__all__ = ["DRAWS", "RULES", "Call", "Follower", "Rule", "Tracks", "rule_for", "tensors_in"]


def _unknown(run: Follower, call: Call) -> None:
    """No rule: pin what it touches, with its name. Unknown can cost opportunities, never correctness."""
    for tensor in call.inputs:
        run.ledger.pin(run.tracks(tensor), f"operator {call.name} has no rule")


def _ignore(run: Follower, call: Call) -> None:
    """Reads shapes or makes fresh tensors: no identities involved."""


_IGNORED = """sym_size new_zeros new_empty new_ones new_full new_empty_strided is_same_size _assert_async
    _assert_tensor_metadata"""

RULES: dict[str, Rule] = {
    **ARITHMETIC,
    **ATTENTION,
    **CONTRACTION,
    **MOVEMENT,
    **NORMALISATION,
    **REDUCTION,
    **SELECTION,
    **dict.fromkeys(_IGNORED.split(), _ignore),
}


def rule_for(func: Any) -> Rule:
    """The rule of an ATen operator: by name, else arithmetic if PyTorch tags it so, else unknown."""
    name = func.overloadpacket.__name__
    if name in RULES:
        return RULES[name]
    return combine if torch.Tag.pointwise in func.tags else _unknown
