"""Decides what to measure next, fills the database, and turns it into staircases, candidates and a latency model."""

from tailor.latency.profile import LayerStaircase, NetworkProbe, Profile
from tailor.profiling.networks import build_widths
from tailor.profiling.session import profile

__all__ = ["LayerStaircase", "NetworkProbe", "Profile", "build_widths", "profile"]
