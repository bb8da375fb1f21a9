"""Deterministic signals and weights, under the name by which tests know them."""

from v2abench.selftest.signals import frames, wave
from v2abench.weights.deterministic import fill_, values

__all__ = ["fill_", "frames", "values", "wave"]
