"""Clips in which a block jumps and every jump is heard."""

import numpy as np

from v2abench.media.audio import Audio

SECONDS = 2.0
SAMPLE_RATE = 16000


def knocks(seed: int, seconds: float = SECONDS) -> tuple[np.ndarray, Audio]:
    """Frames of a block that jumps, (T, 64, 64, 3), and a click at every jump."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.25, 0.5, size=8))
    times = times[times < seconds - 0.2]
    frames = np.full((round(seconds * 25), 64, 64, 3), 40, np.uint8)
    frames += rng.integers(0, 8, frames.shape[1:], dtype=np.uint8)
    for index, frame in enumerate(frames):
        jumps = int((times <= (index + 0.5) / 25).sum())
        frame[20:44, 4 + 6 * jumps : 24 + 6 * jumps] = (220, 180, 60)
    samples = 0.002 * rng.standard_normal(round(seconds * SAMPLE_RATE))
    for time in times:
        start = round(time * SAMPLE_RATE)
        decay = np.exp(-np.arange(len(samples) - start) / 800)
        samples[start:] += 0.4 * rng.uniform(0.3, 1) * decay * rng.standard_normal(len(decay))
    return frames, Audio(np.clip(samples, -1, 1).astype(np.float32)[None], SAMPLE_RATE)
