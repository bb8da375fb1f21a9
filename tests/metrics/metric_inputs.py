"""The inputs behind `metrics.npz`, and features in the shape that metrics read."""

from collections.abc import Mapping

import numpy as np

from v2abench.selftest.goldens import golden
from v2abench.selftest.signals import golden_features, golden_logits

__all__ = ["GOLDENS", "as_features", "clip_ids", "golden_features", "golden_logits"]

GOLDENS = golden("metrics")


def clip_ids(n: int, prefix: str = "clip") -> list[str]:
    return [f"{prefix}{i:05}" for i in range(n)]


def as_features(name: str, **streams: np.ndarray) -> dict[str, dict[str, Mapping[str, np.ndarray]]]:
    """Rows of each stream as the feature `name` of clips clip00000, clip00001, ..."""
    return {
        stream: {name: dict(zip(clip_ids(len(rows)), rows, strict=True))} for stream, rows in streams.items()
    }
