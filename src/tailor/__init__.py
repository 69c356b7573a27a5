"""Tailor makes a CNN to measure: it measures the device, cuts the channels to fit, fine-tunes, and measures again."""
