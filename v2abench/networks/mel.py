"""Slaney's mel filter bank, as librosa and torchaudio (`mel_scale="slaney"`, `norm="slaney"`) have it.

Slaney, "Auditory Toolbox", 1998: linear below 1 kHz, logarithmic above; the triangles
are linear in Hz and of unit area.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

_HZ_PER_MEL = 200 / 3
_LOG_START_HZ = 1000.0
_LOG_START_MEL = _LOG_START_HZ / _HZ_PER_MEL
_MEL_PER_LOG = 27 / np.log(6.4)


@cache
def slaney_bank(
    sample_rate: int, frame: int, bands: int, lowest: float, highest: float
) -> NDArray[np.float64]:
    """Return the (frame // 2 + 1, bands) weights of FFT bins; `lowest` and `highest` are in Hz."""
    mel = np.linspace(_mel(lowest), _mel(highest), bands + 2)
    logarithmic = _LOG_START_HZ * np.exp((mel - _LOG_START_MEL) / _MEL_PER_LOG)
    edges = np.where(mel < _LOG_START_MEL, mel * _HZ_PER_MEL, logarithmic)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    bins = np.linspace(0, sample_rate / 2, frame // 2 + 1)[:, None]
    triangles = np.maximum(0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    bank: NDArray[np.float64] = triangles * 2 / (high - low)
    return bank


def _mel(frequency: float) -> float:
    if frequency < _LOG_START_HZ:
        return frequency / _HZ_PER_MEL
    return float(_LOG_START_MEL + _MEL_PER_LOG * np.log(frequency / _LOG_START_HZ))
