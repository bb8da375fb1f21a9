"""Which metrics tell the truth? Their correlation with the oracle: `v2abench impacts validate`."""
