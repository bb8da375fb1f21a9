"""Change of sample rate by a windowed sinc.

The default kernel is that of `torchaudio.transforms.Resample` with its defaults (Hann
window, low-pass filter width 6, roll-off 0.99), on which the field's numbers
stand. torchaudio builds it for every output phase over a whole input period,
which for 44101 -> 16000 Hz takes gigabytes; as one polyphase filter it is small
for every pair of rates. The values agree to the rounding of float32.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, gcd

import numpy as np
from numpy.typing import NDArray
from scipy.signal import upfirdn
from scipy.special import i0

RESAMPLER = "sinc_interp_hann-6-0.99"
"""The name of the method, for signatures."""


@dataclass(frozen=True)
class SincKernel:
    """A sinc of `rolloff` times the lower Nyquist frequency under a window of `zero_crossings` each way.

    The window is Hann's, or Kaiser's with `beta`.
    """

    zero_crossings: int
    rolloff: float
    beta: float | None = None


HANN = SincKernel(6, 0.99)

KAISER_BEST = SincKernel(64, 0.9475937167399596, 14.769656459379492)
"""librosa's former `kaiser_best`, as torchaudio's documentation gives it."""


def resample(
    samples: NDArray[np.float32], source_rate: int, target_rate: int, kernel: SincKernel = HANN
) -> NDArray[np.float32]:
    """Resample along the last axis.

    `samples` is (..., n) float32 at `source_rate` Hz; the result is
    (..., ceil(n * target_rate / source_rate)) float32. Outside of its n samples
    the signal counts as zero. Equal rates return `samples` itself.

    Source: torchaudio 2.11 `transforms.Resample` (kernel in float64, rounded to
    float32), after Smith, "Digital Audio Resampling", 2002.
    """
    if source_rate == target_rate or samples.shape[-1] == 0:
        return samples
    common = gcd(source_rate, target_rate)
    up, down = target_rate // common, source_rate // common
    taps, delay = _taps(up, down, kernel)
    filtered = upfirdn(taps, samples.astype(np.float64), up, down, axis=-1)
    count = -(-samples.shape[-1] * up // down)
    resampled: NDArray[np.float32] = filtered[..., delay : delay + count].astype(np.float32)
    return resampled


@lru_cache(maxsize=32)
def _taps(up: int, down: int, kernel: SincKernel) -> tuple[NDArray[np.float64], int]:
    """The filter at `up` times the source rate, and by how many output samples it delays.

    The delay is whole because zeros are put in front.
    """
    cutoff = kernel.rolloff * min(up, down)
    reach = ceil(kernel.zero_crossings * up * down / cutoff)
    t = np.arange(-reach, reach + 1) * (cutoff / (up * down))
    within = np.clip(t / kernel.zero_crossings, -1, 1)
    if kernel.beta is None:
        window = np.cos(np.pi * within / 2) ** 2
    else:
        window = i0(kernel.beta * np.sqrt(1 - within**2)) / i0(kernel.beta)
    taps = (cutoff / down * window * np.sinc(t)).astype(np.float32)
    lead = -reach % down
    return np.pad(taps.astype(np.float64), (lead, 0)), (lead + reach) // down
