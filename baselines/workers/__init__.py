"""Models in environments of their own: cards, setup, and the host side of the worker protocol."""
