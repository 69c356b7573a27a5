"""Puts questions to the stopwatch: how long, faster than what, on which engine, on what machine, and why no faster."""

from tailor.measuring.networks import Comparison, Timing, compare, instance_count, instances_of, measure, samples_of

__all__ = ["Comparison", "Timing", "compare", "instance_count", "instances_of", "measure", "samples_of"]
