"""The log-mel spectrogram that BigVGAN's vocoders turn back into sound."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from v2abench.networks.mel import slaney_bank

_LEAST_POWER = 1e-9
_LEAST_MAGNITUDE = 1e-5


@dataclass(frozen=True)
class MelConfig:
    """Rate in Hz, window (= FFT) and hop in samples, bands from 0 Hz to `highest`, and the logarithm."""

    sample_rate: int
    window: int
    hop: int
    bands: int
    highest: float
    log: Literal["log10", "natural"]


MEL_16K = MelConfig(16000, 1024, 256, 80, 8000, "log10")
MEL_44K = MelConfig(44100, 2048, 512, 128, 22050, "natural")


def log_mel(waveform: Tensor, config: MelConfig) -> Tensor:
    """Return (B, bands, n // hop) float32 of (B, n) waveforms, clipped at ±1.

    Mirrored at both ends by (window - hop) / 2; a periodic Hann window; magnitudes, not
    powers; logarithms of 1e-5 at the least.
    """
    reach = (config.window - config.hop) // 2
    padded = functional.pad(waveform.clamp(-1, 1)[:, None], (reach, reach), mode="reflect")[:, 0]
    window = torch.hann_window(config.window, device=waveform.device)
    spectrum = torch.stft(padded, config.window, config.hop, window=window, center=False, return_complex=True)
    magnitude = torch.view_as_real(spectrum).square().sum(-1).add(_LEAST_POWER).sqrt()
    bank = torch.from_numpy(mel_bank(config)).to(waveform.device)
    mel = (bank @ magnitude).clamp(min=_LEAST_MAGNITUDE)
    return mel.log10() if config.log == "log10" else mel.log()


@lru_cache(maxsize=4)
def mel_bank(config: MelConfig) -> NDArray[np.float32]:
    """Return the (bands, window / 2 + 1) triangles on Slaney's mel scale, each of unit area."""
    bank = slaney_bank(config.sample_rate, config.window, config.bands, 0, config.highest)
    return np.ascontiguousarray(bank.T, dtype=np.float32)
