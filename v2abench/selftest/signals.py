"""Deterministic signals, from which the reference's arrays were made. NumPy alone."""

import math

import numpy as np
from numpy.typing import NDArray


def wave(seconds: float, rate: int, seed: int = 0) -> NDArray[np.float32]:
    """Return (samples,) float32 in [-1, 1]: three decaying chirps over faint noise."""
    t = np.arange(round(seconds * rate), dtype=np.float64) / rate
    generator = np.random.Generator(np.random.PCG64([7, seed]))
    x = 0.01 * generator.standard_normal(t.shape)
    for k in range(3):
        start = seconds * (0.1 + 0.3 * k)
        low, high = 200.0 * (k + 1), 1500.0 * (k + 1)
        u = np.clip(t - start, 0, None)
        chirp = np.exp(-6 * u) * np.sin(2 * np.pi * (low * u + (high - low) * u**2 / 2))
        x += np.where(t >= start, chirp, 0)
    scaled: NDArray[np.float32] = (0.5 * x / np.abs(x).max()).astype(np.float32)
    return scaled


def frames(count: int, size: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return (count, 3, size, size) uint8: a bright disc that bounces over a gradient."""
    yy, xx = np.mgrid[0:size, 0:size].astype(np.float64) / size
    out = np.empty((count, 3, size, size), dtype=np.uint8)
    for i in range(count):
        phase = (i / 25.0 * 1.3 + 0.17 * seed) % 1.0
        cy, cx = 0.85 - 0.7 * abs(math.sin(math.pi * phase)), 0.2 + 0.6 * ((i / 100.0 + 0.1 * seed) % 1.0)
        disc = ((yy - cy) ** 2 + (xx - cx) ** 2) < 0.01
        out[i, 0] = np.where(disc, 250, 40 + 120 * xx)
        out[i, 1] = np.where(disc, 220, 40 + 120 * yy)
        out[i, 2] = np.where(disc, 30, 90 + 60 * (xx * yy))
    return out


def golden_features(n: int, d: int, part: int) -> NDArray[np.float32]:
    """Embeddings (n, d) float32; part 0 is generated, part 1 reference."""
    normal = np.random.Generator(np.random.PCG64([11, n, d, part])).standard_normal((n, d))
    x = (normal + 0.5 * np.roll(normal, 1, axis=1)) * np.linspace(0.5, 1.5, d)
    return (1.2 * x + 0.25 if part else x).astype(np.float32)


def golden_logits(n: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits (n, 527) float32, generated and reference."""
    rng = np.random.Generator(np.random.PCG64([12, n, 527]))
    reference = 2 * rng.standard_normal((n, 527)) - 4
    generated = reference + 0.7 * rng.standard_normal((n, 527))
    return generated.astype(np.float32), reference.astype(np.float32)
