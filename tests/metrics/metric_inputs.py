"""The inputs behind goldens/metrics.npz, and features in the shape that metrics read."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

GOLDENS = dict(np.load(Path(__file__).parent.parent / "goldens" / "metrics.npz"))


def golden_features(n: int, d: int, part: int) -> np.ndarray:
    """Embeddings (n, d) float32; part 0 is generated, part 1 reference."""
    normal = np.random.Generator(np.random.PCG64([11, n, d, part])).standard_normal((n, d))
    x = (normal + 0.5 * np.roll(normal, 1, axis=1)) * np.linspace(0.5, 1.5, d)
    return (1.2 * x + 0.25 if part else x).astype(np.float32)


def golden_logits(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, 527) float32, generated and reference."""
    rng = np.random.Generator(np.random.PCG64([12, n, 527]))
    reference = 2 * rng.standard_normal((n, 527)) - 4
    generated = reference + 0.7 * rng.standard_normal((n, 527))
    return generated.astype(np.float32), reference.astype(np.float32)


def clip_ids(n: int, prefix: str = "clip") -> list[str]:
    return [f"{prefix}{i:05}" for i in range(n)]


def as_features(name: str, **streams: np.ndarray) -> dict[str, dict[str, Mapping[str, np.ndarray]]]:
    """Rows of each stream as the feature `name` of clips clip00000, clip00001, ..."""
    return {
        stream: {name: dict(zip(clip_ids(len(rows)), rows, strict=True))} for stream, rows in streams.items()
    }
