"""The log-mel spectrogram that BigVGAN's vocoders turn back into sound."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

_LEAST_POWER = 1e-9
_LEAST_MAGNITUDE = 1e-5

_LINEAR_STEP = 200 / 3
"""Hertz of one mel below 1000 Hz on the scale of Slaney's Auditory Toolbox."""
_LOG_STEP = np.log(6.4) / 27
_BREAK = 1000.0


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
    """Return the (bands, window / 2 + 1) triangles on Slaney's mel scale, each of unit area.

    Source: as `librosa.filters.mel` with its defaults makes them.
    """
    frequencies = np.linspace(0, config.sample_rate / 2, config.window // 2 + 1)
    corners = _hertz(np.linspace(0, _mel(config.highest), config.bands + 2))
    low, centre, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    triangles = np.minimum((frequencies - low) / (centre - low), (high - frequencies) / (high - centre))
    bank: NDArray[np.float32] = (np.maximum(0, triangles) * (2 / (high - low))).astype(np.float32)
    return bank


def _mel(hertz: float) -> float:
    if hertz < _BREAK:
        return hertz / _LINEAR_STEP
    return float(_BREAK / _LINEAR_STEP + np.log(hertz / _BREAK) / _LOG_STEP)


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    start = _BREAK / _LINEAR_STEP
    linear = mel * _LINEAR_STEP
    hertz: NDArray[np.float64] = np.where(mel < start, linear, _BREAK * np.exp(_LOG_STEP * (mel - start)))
    return hertz
