"""Protocols: frozen, versioned sets of choices, as YAML files."""
