"""The fastest of the narrowest networks: engines may run layers of one channel slower than layers of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from tailor.engines.subjects import network_subject
from tailor.instances import InstanceComparison, compare_instances
from tailor.measuring.networks import instances_of
from tailor.protocols import Subject
from tailor.records import TimingSettings
from tailor.spec import Target

if TYPE_CHECKING:
    from tailor.engines.bench import Bench

__all__ = ["LEAST", "fastest", "narrow_subjects"]

LEAST = (1, 2, 8)  # channels that every group keeps at least: one may have no kernel of its own, eight fill a vector
_INSTANCES = 2


def narrow_subjects(networks: Sequence[nn.Module], example_inputs: Any, target: Target) -> dict[str, Subject]:
    """The networks, the narrowest first, by what they are called in errors."""
    names = ["the narrowest network", *(f"narrow network {number}" for number in range(2, len(networks) + 1))]
    return {
        name: network_subject(name, network, example_inputs, target.batch_size)
        for name, network in zip(names, networks, strict=True)
    }


def fastest(
    device: Bench, dense: Subject, narrow: Mapping[str, Subject], settings: TimingSettings
) -> InstanceComparison:
    """What the fastest of these networks takes of the dense one's latency, two instances of each timed in one session.

    `narrow` are the networks by what they are called in errors.

    Raises:
        MeasurementError: one of the networks does not run here; names it.
    """
    timed = instances_of(device, {**narrow, "the dense network": dense}, settings, _INSTANCES)
    *own, whole = ([measured.samples_ns for measured in group] for group in timed.values())
    found = []
    for each in own:
        peers = [other for other in own if other is not each]
        found.append(compare_instances([(each, whole)], statistic=settings.statistic, peers=peers))
    return min(found, key=lambda each: each.ratio.value)
