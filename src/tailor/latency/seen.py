"""Which widths a latency model has seen, and which lie beyond: a removed branch is no narrow one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tailor.spec import Widths

__all__ = ["beyond", "narrowest_of", "removed_of"]


def narrowest_of(networks: Sequence[Widths]) -> dict[str, int]:
    """The smallest width above zero of each group among these networks (at least one)."""
    groups = networks[0] if networks else {}
    return {group: min((n[group] for n in networks if n[group]), default=1) for group in groups}


def removed_of(networks: Sequence[Widths]) -> tuple[str, ...]:
    """The groups that are at width zero in one of these networks."""
    return tuple(dict.fromkeys(group for network in networks for group, width in network.items() if not width))


def beyond(widths: Mapping[str, int], narrowest: Mapping[str, int], removed: Sequence[str]) -> bool:
    """Whether a group is narrower than any network measured, or at zero where none was."""
    return any(
        widths[group] < least if widths[group] else group not in removed for group, least in narrowest.items()
    )
