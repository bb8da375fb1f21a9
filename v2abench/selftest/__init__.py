"""Parity on the user's own machine: what the networks and metrics say, against the reference's arrays."""
