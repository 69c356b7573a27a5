"""What `tailor doctor` prints: the machine, every engine with its resolution, and what to beware of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tailor.console import table_text
from tailor.report.wording import duration, percent
from tailor.tables.network import facts_text

if TYPE_CHECKING:
    from tailor.measuring.doctor import Doctor, EngineHealth
    from tailor.measuring.machine import Machine

__all__ = ["doctor_text"]


def doctor_text(found: Doctor, columns: int) -> str:
    """The machine, the engines that run and how finely they can be timed, those that do not, and the warnings."""
    usable = [health for health in found.engines if health.problem is None]
    parts = [facts_text(_machine_rows(found))]
    if usable:
        headers = ("engine", "version", "computes in", ">takes", ">two copies differ by", "remark")
        parts.append(table_text(headers, [_engine_row(health) for health in usable], columns=columns))
    missing = [(health.engine, health.problem or "") for health in found.engines if health.problem is not None]
    if missing:
        parts.append(table_text(("cannot be used", "reason"), missing, columns=columns))
    parts.append("\n".join(f"warning: {text}" for text in found.warnings) if found.warnings else "nothing to warn of")
    return "\n\n".join(parts)


def _machine_rows(found: Doctor) -> list[tuple[str, str]]:
    machine, conditions = found.machine, found.conditions
    host = machine.host
    rows = [
        ("processor", host["cpu"]),
        ("vectors", host["cpu_vectors"]),
        ("cores", _cores(machine)),
        ("memory", f"{machine.memory_available / 2**30:.1f} GiB free of {machine.memory_total / 2**30:.1f} GiB"),
        ("GPU", ", ".join(machine.gpus) or "none that torch sees"),
    ]
    if conditions is not None:
        clocks = "not told by this system" if conditions.mhz is None else f"{conditions.mhz[1]:.0f} MHz under load"
        rows += [
            ("clock", clocks + (f", governor {machine.governor}" if machine.governor else "")),
            ("steal", _share(conditions.steal)),
            ("waiting", _share(conditions.pressure)),
        ]
    rows.append(("allocator", machine.allocator))
    rows.append(("timed", f"{found.network} with {found.target.threads} thread{'s' * (found.target.threads > 1)}"))
    return rows


def _cores(machine: Machine) -> str:
    physical = f", {machine.physical_cores} physical in the machine" if machine.physical_cores else ""
    quota = f", container quota {machine.quota:g}" if machine.quota is not None else ""
    return f"{machine.host['cores']} for this process{physical}{quota}"


def _share(share: float | None) -> str:
    return "not told by this system" if share is None else f"{percent(share)} of the time"


def _engine_row(health: EngineHealth) -> tuple[str, ...]:
    if health.ns is None or health.resolution is None:
        return (health.engine, health.version or "", "", "", "", "not timed here: it compiles for long")
    took, differ = duration(health.ns), percent(health.resolution)
    return (health.engine, health.version or "", health.precision or "", took, differ, "")
