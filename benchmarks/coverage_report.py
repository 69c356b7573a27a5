"""The coverage table, its headline, and every family that is not open to pruning, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from environment import markdown_table

__all__ = ["tables"]

Record = Mapping[str, Any]


def tables(networks: Mapping[str, Record]) -> list[str]:
    """Headline, a row per network, and why what is pinned is pinned."""
    return [_headline(networks), _legend(), _rows(networks), "## What stays, and why", _reasons(networks)]


def _headline(networks: Mapping[str, Record]) -> str:
    lines = []
    for tool in ("tailor", "torch-pruning"):
        found = [record[tool] for record in networks.values() if tool in record]
        exact = sum(_law(record) == "holds" for record in found)
        broken = sum(_law(record) == "broken" for record in found)
        slow = sum("took more" in record.get("error", "") for record in found)
        lines.append(
            f"- {tool}: {exact} of {len(found)} networks cut exactly, {broken} broken in silence, {slow} over the time "
            f"limit, {len(found) - exact - broken - slow} fail"
        )
    own = [record["tailor"] for record in networks.values() if "groups" in record.get("tailor", {})]
    shares = [record["prunable_share"] for record in own]
    for step in ("training", "onnx"):
        lines.append(f"- {step}: {sum(record.get(step) == 'ok' for record in own)} of {len(own)} cut networks pass")
    if shares:
        above = sum(share > 0.9 for share in shares)
        lines.append(
            f"- prunable share of MACs: median {np.median(shares):.1%}, above 90 % in {above} of {len(shares)}, "
            f"nothing prunable in {sum(share == 0 for share in shares)}"
        )
        seconds = [record["trace_s"] + record["cut_s"] for record in own]
        lines.append(
            f"- Tailor's seconds to trace and cut, all proofs included: median {np.median(seconds):.2f}, "
            f"worst {max(seconds):.1f}; under one second in {sum(s < 1 for s in seconds)} of {len(seconds)}"
        )
    wanted = [record["on_request"] for record in own if "on_request" in record]
    asked = [record["prunable_share"] for record in wanted if "error" not in record]
    if asked:
        lines.append(
            f"- where norms hold channels and cutting them is asked for: {len(asked)} of {len(wanted)} networks "
            f"proven, prunable share of MACs median {np.median(asked):.1%}, smallest {min(asked):.1%}"
        )
    ratios = [ratio for record in networks.values() if (ratio := _ratio(record)) is not None]
    if ratios:
        lines.append(
            f"- Torch-Pruning's seconds over Tailor's, where Torch-Pruning finishes ({len(ratios)}): median "
            f"{np.median(ratios):.2f}, worst {min(ratios):.2f}, best {max(ratios):.1f}"
        )
    return "\n".join(lines)


def _legend() -> str:
    return (
        "A random 30 % of every prunable group is removed. `law`: the cut network against the dense one whose "
        "consumers ignore the removed channels, in double precision, as a share of the largest output; `spoiled` is "
        "the same number with one channel taken for another. `share`: MACs in layers of which at least one side is "
        "prunable; `on request`: the same with `trace(mixing=\"cut\")`, proven by Tailor against recomputed "
        "statistics; `removable`: MACs that are gone when every group is as narrow as it may become. Seconds are CPU "
        "seconds of one thread, one run each. Torch-Pruning is told which layers make the outputs."
    )


def _rows(networks: Mapping[str, Record]) -> str:
    header = ("network", "groups", "pinned", "GMACs", "share", "on request", "removable", "law", "spoiled", "training",
              "onnx", "s", "Torch-Pruning", "s")
    rows = []
    for name, record in networks.items():
        own, other = record.get("tailor", {}), record.get("torch-pruning", {})
        if "groups" not in own:
            rows.append((name, *[""] * 6, own.get("error", ""), *[""] * 4, _verdict(other), _seconds(other)))
            continue
        pinned = sum(len(names) for names in own["groups"]["pinned"].values())
        share = f"{own['prunable_share']:.1%}"
        numbers = (own["groups"]["prunable"], pinned, f"{own['gmacs']:.2f}", share, _asked(own))
        law = own["law"]
        exact = f"{law['verdict']} {law['difference']:.0e}", f"{law['spoiled']:.0e}"
        rows.append((name, *numbers, f"{own['removable_share']:.1%}", *exact, own.get("training", ""),
                     own.get("onnx", ""), _seconds(own), _verdict(other), _seconds(other)))
    return markdown_table(header, rows)


def _asked(record: Record) -> str:
    """Prunable share with mixing norms cut on request, where there are any."""
    asked = record.get("on_request")
    return "" if asked is None else asked.get("error") or f"{asked['prunable_share']:.1%}"


def _reasons(networks: Mapping[str, Record]) -> str:
    """Reasons by network, for layers of which neither side can be cut, largest share of MACs first."""
    rows = []
    for name, record in networks.items():
        own = record.get("tailor", {})
        for why, share in _short(own.get("pinned_macs", {})).items():
            if share >= 0.01:
                rows.append((name, record["family"], f"{share:.1%}", why))
    return markdown_table(("network", "family", "MACs", "pinned because"), rows)


def _short(reasons: Mapping[str, float]) -> dict[str, float]:
    """Reasons without the module that a forward failed in, so that equal ones add up."""
    summed: dict[str, float] = {}
    for why, share in reasons.items():
        text = "the code holds a channel count or order" if why.startswith("the code holds") else why
        summed[text] = summed.get(text, 0.0) + share
    return dict(sorted(summed.items(), key=lambda item: -item[1]))


def _law(record: Record) -> str:
    return str(record.get("law", {}).get("verdict", ""))


def _verdict(record: Record) -> str:
    law = record.get("law")
    if law is None:
        return str(record.get("error", ""))
    return f"{law['verdict']} {law['difference']:.0e}" if law["verdict"] in ("holds", "broken") else law["verdict"]


def _seconds(record: Record) -> str:
    seconds = record.get("seconds", record.get("trace_s", 0.0) + record.get("cut_s", 0.0))
    return f"{seconds:.2f}" if seconds else ""


def _ratio(record: Record) -> float | None:
    """Torch-Pruning's seconds over Tailor's, where both finish."""
    own, other = record.get("tailor", {}), record.get("torch-pruning", {})
    return other["seconds"] / (own["trace_s"] + own["cut_s"]) if "seconds" in other and "trace_s" in own else None
