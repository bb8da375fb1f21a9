"""Alignment of flow models by preference optimisation."""
