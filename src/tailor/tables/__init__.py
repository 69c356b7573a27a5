"""What commands print for people: plain text, as wide as the terminal."""

from tailor.tables.doctor import doctor_text
from tailor.tables.measure import engines_text, timing_text
from tailor.tables.methods import methods_text
from tailor.tables.network import graph_text, profile_text
from tailor.tables.waves import waves_text

__all__ = ["doctor_text", "engines_text", "graph_text", "methods_text", "profile_text", "timing_text", "waves_text"]
