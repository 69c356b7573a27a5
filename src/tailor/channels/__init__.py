"""Which channels live or die together, and the surgery that removes them, with proof."""

from tailor.channels.cut import build
from tailor.channels.masking import ChannelMask
from tailor.channels.network import GraphNetwork, network_of
from tailor.channels.trace import cut, full_plan, trace

__all__ = ["ChannelMask", "GraphNetwork", "build", "cut", "full_plan", "network_of", "trace"]
