"""Checkpoints: the registry, the cache, and how they get there."""
