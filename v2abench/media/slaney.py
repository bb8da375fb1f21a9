"""Slaney's mel scale, librosa's default: linear up to 1 kHz, logarithmic above."""

import numpy as np
from numpy.typing import NDArray

_HZ_PER_MEL = 200 / 3
_LOG_START_HZ = 1000
_LOG_START_MEL = _LOG_START_HZ / _HZ_PER_MEL
_MEL_PER_LOG = 27 / np.log(6.4)


def slaney_bank(
    sample_rate: int, frame: int, bands: int, lowest_hz: float, highest_hz: float
) -> NDArray[np.float64]:
    """Return triangles of unit area over the bins of a Fourier transform, (1 + frame // 2, bands).

    `highest_hz` is at least 1000.

    Source: librosa `filters.mel(norm="slaney", htk=False)`, transposed.
    """
    top = _LOG_START_MEL + _MEL_PER_LOG * np.log(highest_hz / _LOG_START_HZ)
    mel = np.linspace(lowest_hz / _HZ_PER_MEL, top, bands + 2)
    logarithmic = _LOG_START_HZ * np.exp((mel - _LOG_START_MEL) / _MEL_PER_LOG)
    edges = np.where(mel < _LOG_START_MEL, mel * _HZ_PER_MEL, logarithmic)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    bins = np.linspace(0, sample_rate / 2, frame // 2 + 1)[:, None]
    triangles = np.maximum(0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    bank: NDArray[np.float64] = triangles * 2 / (high - low)
    return bank
