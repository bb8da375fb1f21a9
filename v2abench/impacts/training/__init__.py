"""How the world's networks are trained: `v2abench impacts train NAME`."""
