"""The log-mel spectrogram that all networks of the world hear.

16 kHz, Hann windows of 512 samples every 160 (10 ms), 64 triangular mel bands
(HTK scale) of unit peak from 40 Hz to 8 kHz, log10 of power + 1e-7. Frame k is
centred on sample 160·k + 80, so that 4 s give 400 frames, the sound beyond its
ends counting as zero. Nothing is normalised per clip: level is information.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from v2abench.impacts.scenes import SAMPLE_RATE

WINDOW = 512
HOP = 160
BANDS = 64
FRAMES_PER_S = SAMPLE_RATE // HOP
_LOWEST_HZ = 40.0
_FLOOR = 1e-7
SILENCE = -7.0
"""The log-mel of digital silence."""


def log_mel(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (samples // 160, 64) float32 log-mel of a (samples,) waveform at 16 kHz."""
    count = len(waveform) // HOP
    padded = np.pad(np.asarray(waveform, dtype=np.float32), (WINDOW // 2 - HOP // 2, WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:count]
    power = np.abs(np.fft.rfft(frames * _window(), axis=1)) ** 2
    return np.log10(power @ mel_bank() + _FLOOR).astype(np.float32)


@cache
def mel_bank() -> NDArray[np.float64]:
    """Return the (257, 64) triangles that turn power spectra into mel bands."""
    frequencies = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    edges = _hertz(np.linspace(_mel(_LOWEST_HZ), _mel(SAMPLE_RATE / 2), BANDS + 2))
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequencies[:, None] - low) / (centre - low)
    falling = (high - frequencies[:, None]) / (high - centre)
    bank: NDArray[np.float64] = np.clip(np.minimum(rising, falling), 0.0, None)
    return bank


@cache
def _window() -> NDArray[np.float32]:
    return np.hanning(WINDOW + 1)[:-1].astype(np.float32)


def _mel(hertz: float) -> float:
    return float(2595.0 * np.log10(1 + hertz / 700.0))


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(700.0 * (10 ** (mel / 2595.0) - 1))
