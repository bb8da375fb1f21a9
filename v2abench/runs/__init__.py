"""Runs: one evaluated model on one dataset under one protocol."""
