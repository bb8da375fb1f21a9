"""The log-mel spectrogram that Frieren's autoencoder and vocoder speak: 80 bands, 62.5 frames a second.

Source: cyanbx/Frieren-V2A@0c39692, script/data_preprocess/NAT_mel.py.
"""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from v2abench.media.slaney import slaney_bank

SAMPLE_RATE = 16000
FRAME = 1024
HOP = 256
BANDS = 80

_POWER_FLOOR = 1e-9
_FLOOR = 1e-5


def log_mel(waveforms: NDArray[np.float32]) -> Tensor:
    """Return the (B, 80, n // 256) float32 spectrograms of (B, n) samples at 16 kHz.

    Decimal logarithms of magnitudes, from -5 to about 1.5; `waveforms` beyond ±1 is clipped.
    """
    padding = (FRAME - HOP) // 2
    samples = torch.from_numpy(waveforms).clamp(-1, 1)[:, None]
    padded = torch.nn.functional.pad(samples, (padding, padding), mode="reflect")[:, 0]
    window = torch.hann_window(FRAME)
    spectrum = torch.stft(padded, FRAME, HOP, window=window, center=False, return_complex=True)
    magnitude = torch.sqrt(spectrum.real**2 + spectrum.imag**2 + _POWER_FLOOR)
    return torch.log10((mel_bank() @ magnitude).clamp(min=_FLOOR))


@cache
def mel_bank() -> Tensor:
    """Return the (80, 513) float32 triangles, Slaney's, from 0 to 8000 Hz."""
    bank = slaney_bank(SAMPLE_RATE, FRAME, BANDS, 0, SAMPLE_RATE // 2)
    return torch.from_numpy(bank.T.astype(np.float32))
