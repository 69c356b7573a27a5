"""What a target may ask of the engines that read ONNX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tailor.errors import InvalidOptionError
from tailor.spec import Target

__all__ = ["check_options"]


def check_options(target: Target, precisions: Mapping[str, Sequence[str]]) -> None:
    """Refuse what the engine cannot do; `precisions` are those it knows on each device.

    Raises:
        InvalidOptionError: naming the value and what there is instead.
    """
    device, name = target.device.partition(":")[0], f"engine {target.engine}"
    if device not in precisions:
        raise InvalidOptionError(
            f"{name} runs on {', '.join(precisions)}, not on {target.device!r}; "
            f"use --device {next(iter(precisions))}, or another engine",
            value=target.device,
        )
    if target.precision not in precisions[device]:
        known = ", ".join(precisions[device])
        raise InvalidOptionError(
            f"{name} on {device} has no precision {target.precision!r}; there are {known}", value=target.precision
        )
    if target.layout != "contiguous":
        raise InvalidOptionError(
            f"{name} chooses layouts by itself: {target.layout!r} means nothing to it; use --layout contiguous",
            value=target.layout,
        )
