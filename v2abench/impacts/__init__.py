"""The embedded benchmark: a procedurally generated world of things that strike each other."""
