"""What a network is, without its framework: groups of channels, how many of each are kept, and what that costs."""

from tailor.spec.graph import ChannelGraph, replace_groups
from tailor.spec.groups import Branch, ChannelGroup, IndexArray, Slot, TensorSpec
from tailor.spec.layers import Axis, Layer, LayerShape
from tailor.spec.target import Target
from tailor.spec.widths import KeepPlan, Widths

__all__ = [
    "Axis",
    "Branch",
    "ChannelGraph",
    "ChannelGroup",
    "IndexArray",
    "KeepPlan",
    "Layer",
    "LayerShape",
    "Slot",
    "Target",
    "TensorSpec",
    "Widths",
    "replace_groups",
]
