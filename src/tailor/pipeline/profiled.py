"""The stage that profiles the device: measured in this environment, or what this run or another one stored."""

from __future__ import annotations

from tailor.database import Database
from tailor.engines import open_device
from tailor.errors import RunFolderError
from tailor.latency.profile import Profile, regrounded
from tailor.pipeline.request import Line
from tailor.profiling import profile

__all__ = ["profiled_on"]


def profiled_on(line: Line) -> Profile:
    """Staircases, candidates and the latency model; measured in this environment, or stored by this run."""
    request = line.request
    stored = line.folder.stored("profile", Profile) or request.profile
    if stored is not None:
        here = open_device(request.target).environment()
        if stored.environment.key != here.key:
            message = f"{request.out} was profiled in another environment; latencies do not carry over, use a new --out"
            raise RunFolderError(message, value=stored.environment.key)
        line.console.say("profile: measured before")
        stored = regrounded(stored, line.graph.layers)
        line.folder.store("profile", stored)
        return stored
    line.console.stage(f"profile on {request.target}")
    profiled = profile(
        request.model,
        line.graph,
        request.example_inputs,
        request.target,
        database=Database(request.database),
        settings=line.settings,
        networks=request.networks,
        seed=request.seed,
        progress=line.console.progress,
        tell=line.console.say,
    )
    line.folder.store("profile", profiled)
    error = profiled.error
    line.console.say(
        f"dense {profiled.dense.value / 1e6:.3f} ms, A/A resolution {profiled.resolution:.1%}; predictions of unseen "
        f"networks are off by {error.mean:.1%} on average, {error.worst:.1%} at worst"
    )
    return profiled
