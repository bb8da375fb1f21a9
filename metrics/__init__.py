"""Metric families, one a file: pure functions of features."""
