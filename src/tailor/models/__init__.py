"""Networks by name, and weights from files."""

from tailor.models.catalogue import input_shape, load_model
from tailor.models.weights import load_weights

__all__ = ["input_shape", "load_model", "load_weights"]
