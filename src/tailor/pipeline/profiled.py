"""The stage that profiles the device: measured in this environment, or what this run or another one stored."""

from __future__ import annotations

from dataclasses import replace

from tailor.database import Database
from tailor.engines import open_device
from tailor.errors import RunFolderError
from tailor.latency.profile import Profile, regrounded
from tailor.pipeline.request import Line
from tailor.profiling import profile
from tailor.timing import SHARES

__all__ = ["as_profiled", "profiled_on"]


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


def as_profiled(line: Line, profiled: Profile) -> Line:
    """The line that knows the host's noise, its candidates and verdicts timed by what repeated in the profile.

    A protocol's own statistic stays.
    """
    line, settings = replace(line, host_noise=profiled.host_noise), line.settings
    if settings.statistic not in SHARES or settings.statistic == profiled.statistic:
        return line
    line.console.say(
        f"latencies are the mean of the quickest {SHARES[profiled.statistic]:.0%} of the calls: by it the networks fit "
        f"together better here than by that of the quickest {SHARES[settings.statistic]:.0%}"
    )
    return replace(line, settings=replace(settings, statistic=profiled.statistic))
