"""Which channels live or die together, and the surgery that removes them, with proof."""

from tailor.channels.cut import build
from tailor.channels.masking import ChannelMask
from tailor.channels.trace import cut, full_plan, trace

__all__ = ["ChannelMask", "build", "cut", "full_plan", "trace"]
