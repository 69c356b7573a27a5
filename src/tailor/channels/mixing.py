"""Where a network mixes channels (norms, means, standardised weights), and the same over the kept channels alone.

A norm over channels changes its statistics when a channel leaves, so the reference of the proof recomputes them: the
run notes every such call by its number, and the reference redoes it on what is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tailor.channels.cut import Positions
from tailor.channels.identity import Ledger, Site

__all__ = ["KeptStatistics", "MixingSites"]

Key = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MixingSites:
    """Every call that mixes channels, with what it takes to say which of them a cut removes."""

    sites: tuple[Site, ...]
    owners: tuple[tuple[str, int, int, int], ...]
    unit: npt.NDArray[np.int64]

    @classmethod
    def of(cls, ledger: Ledger) -> MixingSites:
        """The sites that a run met."""
        unit = ledger.resolve().unit if ledger.sites else np.zeros(0, dtype=np.int64)
        return cls(sites=tuple(ledger.sites), owners=tuple(ledger.owners), unit=unit)

    def kept(self, positions: Positions) -> dict[Key, tuple[int, Tensor]]:
        """Dimension and positions that stay, for every call of which a cut takes something away."""
        removed = self._removed(positions)
        kept = {}
        for site in self.sites:
            stays = ~np.isin(self.unit[site.ids], removed) | (site.ids == 0)
            if not stays.all():
                kept[site.operator, site.number] = (site.dim, torch.from_numpy(np.flatnonzero(stays)))
        return kept

    def _removed(self, positions: Positions) -> npt.NDArray[np.int64]:
        """Numbers of the units that a cut removes."""
        gone = [np.zeros(0, dtype=np.int64)]
        for path, dim, first, size in self.owners if self.sites else ():
            if (path, dim) in positions:
                left = np.ones(size, dtype=bool)
                left[positions[path, dim].numpy()] = False
                gone.append(self.unit[first + np.flatnonzero(left)])
        return np.unique(np.concatenate(gone))


class KeptStatistics(TorchDispatchMode):
    """Recomputes the noted calls over the kept channels; removed ones come out as zero."""

    def __init__(self, kept: Mapping[Key, tuple[int, Tensor]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._kept = kept
        self._calls: Counter[str] = Counter()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nobody compiles through this mode, and guarding against it imports a compiler."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self._calls[name] += 1
        found = self._kept.get((name, self._calls[name]))
        if found is None:
            return func(*args, **(kwargs or {}))
        dim, keep = found[0], found[1].to(args[0].device)
        if name == "native_layer_norm":
            return _layer_norm(func, args, keep)
        if name == "native_group_norm":
            return _group_norm(func, args, keep)
        if name in _BATCH_NORMS:  # of a weight
            out, *rest = func(args[0].index_select(dim, keep), *args[1:], **(kwargs or {}))
            return (_whole(args[0], dim, keep, out), *rest)
        return func(args[0].index_select(dim, keep), *args[1:], **(kwargs or {}))  # a reduction


_BATCH_NORMS = frozenset({"native_batch_norm", "_native_batch_norm_legit", "_batch_norm_with_update"})


def _layer_norm(func: Any, args: Sequence[Any], keep: Tensor) -> Any:
    x, _, weight, bias, eps = args
    out, *rest = func(x[..., keep], [len(keep)], _pick(weight, keep), _pick(bias, keep), eps)
    return (_whole(x, x.ndim - 1, keep, out), *rest)


def _group_norm(func: Any, args: Sequence[Any], keep: Tensor) -> Any:
    x, weight, bias, batch, channels, positions, groups, eps = args
    groups = len(keep) if groups == channels else groups
    picked = x.index_select(1, keep).contiguous()
    out, *rest = func(picked, _pick(weight, keep), _pick(bias, keep), batch, len(keep), positions, groups, eps)
    return (_whole(x, 1, keep, out), *rest)


def _whole(like: Tensor, dim: int, keep: Tensor, part: Tensor) -> Tensor:
    """The part at the kept positions, zero elsewhere."""
    return torch.zeros_like(like).index_copy_(dim, keep, part)


def _pick(tensor: Tensor | None, keep: Tensor) -> Tensor | None:
    return None if tensor is None else tensor[keep]
