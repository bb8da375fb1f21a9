"""Onset times of a sound, as AV-Align picks its audio peaks.

AV-Align (Yariv et al., "Diverse and Aligned Audio-to-Video Generation via
Text-to-Video Model Adaptation", AAAI 2024; guyyariv/TempoTokens, av_align.py)
takes librosa's `onset_strength` and `onset_detect` with their defaults at
22 050 Hz. This is that definition (librosa 0.11) without librosa: spectral flux
of a log-mel spectrogram, scaled to 0..1, then greedy peak picking. Unlike
`librosa.load`, the waveform comes from the harness's windowed-sinc resampler
and has the file's mean removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.signal import get_window

from v2abench.contracts import Forward, Prepared
from v2abench.networks.facts import pass_through

if TYPE_CHECKING:
    from v2abench.media.reading import AudioWindow

SAMPLE_RATE = 22050
FRAME = 2048
HOP = 512
BANDS = 128

_POWER_FLOOR = 1e-10
_DYNAMIC_RANGE = 80.0
_MEL_PER_HZ = 3 / 200
_LOG_START_HZ = 1000.0
_LOG_START_MEL = _LOG_START_HZ * _MEL_PER_HZ
_MEL_PER_LOG = 27 / np.log(6.4)


def onset_envelope(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the onset strength of a 22 050 Hz waveform, (1 + samples // 512,) in dB.

    Mean over 128 mel bands of the rise in dB since the frame before, delayed by
    two frames to make up for half a window (librosa's `center=True`).
    """
    decibels = _log_mel(waveform)
    rise = np.maximum(0, np.diff(decibels, axis=0)).mean(axis=1)
    delay = 1 + FRAME // (2 * HOP)
    return np.concatenate([np.zeros(delay), rise])[: len(decibels)]


def pick_onsets(envelope: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the frames of the onsets in an onset envelope (librosa's `onset_detect`).

    Frame n of the envelope scaled to 0..1 is one if it is not below frame n-1, at
    least 0.07 above the mean of frames n-4 .. n+4, and not right after another.
    """
    envelope = envelope - envelope.min()
    if not envelope.any():
        return np.zeros(0, dtype=np.int64)
    envelope = envelope / envelope.max()
    rising = np.diff(envelope, prepend=envelope[0]) >= 0
    candidates = np.flatnonzero(rising & (envelope >= _centred_mean(envelope, 4) + 0.07))
    picked: list[int] = []
    for frame in candidates.tolist():
        if not picked or frame - picked[-1] > 1:
            picked.append(frame)
    return np.array(picked, dtype=np.int64)


def _centred_mean(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """The mean over `reach` neighbours on each side, over fewer at the ends."""
    ones = np.ones(2 * reach + 1)
    present = slice(reach, reach + len(values))
    count = np.convolve(np.ones(len(values)), ones)[present]
    return np.convolve(values, ones)[present] / count


def _log_mel(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    padded = np.pad(waveform.astype(np.float64), FRAME // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    power = np.abs(np.fft.rfft(frames * get_window("hann", FRAME))) ** 2
    decibels = 10 * np.log10(np.maximum(_POWER_FLOOR, power @ _mel_bank().T))
    clipped: NDArray[np.float64] = np.maximum(decibels, decibels.max() - _DYNAMIC_RANGE)
    return clipped


@cache
def _mel_bank() -> NDArray[np.float64]:
    """Slaney's mel triangles, linear in Hz and of unit area, (128, 1025)."""
    nyquist = SAMPLE_RATE / 2
    top = _LOG_START_MEL + _MEL_PER_LOG * np.log(nyquist / _LOG_START_HZ)
    mel = np.linspace(0, top, BANDS + 2)
    logarithmic = _LOG_START_HZ * np.exp((mel - _LOG_START_MEL) / _MEL_PER_LOG)
    edges = np.where(mel < _LOG_START_MEL, mel / _MEL_PER_HZ, logarithmic)
    low, centre, high = (edges[k : k + BANDS, None] for k in range(3))
    bins = np.linspace(0, nyquist, FRAME // 2 + 1)
    triangles = np.maximum(0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    bank: NDArray[np.float64] = triangles * 2 / (high - low)
    return bank


class OnsetNetwork:
    """A network whose feature is `times`, (onsets,) float64 in seconds, ascending, maybe none; no weights."""

    modality: ClassVar[Literal["audio"]] = "audio"
    weights: ClassVar[tuple[str, ...]] = ()
    features: ClassVar[tuple[str, ...]] = ("times",)
    frames: ClassVar[None] = None
    parameters: ClassVar[Mapping[str, object]] = {}

    def load(self, device: str) -> Forward:  # noqa: ARG002 (the contract's signature)
        """Return the forward half, which hands on what `prepare` found."""
        return pass_through


@dataclass(frozen=True)
class Onsets(OnsetNetwork):
    """The `onsets` network: those of AV-Align."""

    name: ClassVar[str] = "onsets"
    version: ClassVar[int] = 1

    def prepare(self, media: AudioWindow) -> Prepared:
        """Find the onsets; there is nothing left for the device."""
        onsets = pick_onsets(onset_envelope(media.waveform(SAMPLE_RATE)))
        return Prepared({"times": onsets * HOP / SAMPLE_RATE})
