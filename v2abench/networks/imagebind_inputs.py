"""What ImageBind sees of a clip: its views of the video and of the sound.

A view is what the network embeds at once: two neighbouring frames, 2 s apart, in
one of three crops; or 2 s of sound as a log-mel spectrogram. The choices are those
of the IB-score in av-benchmark (hkchengrex/av-benchmark@050a5cd), not those of
ImageBind itself, which takes five 2 s pieces of a video and scales bilinearly.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from v2abench.networks.resizing import resize_short_side

SIDE = 224
SAMPLE_RATE = 16000
VIEW_SECONDS = 2
BANDS = 128
FRAME = 400
"""Samples in one frame of the spectrogram."""

_PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
_PIXEL_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
_CROPS = 3
_SOUND_VIEWS = 3
_HOP = 160
_FFT = 512
_LOWEST = 20.0
_PRE_EMPHASIS = 0.97
_FLOOR = torch.finfo(torch.float32).eps
_SPECTROGRAM_FRAMES = 204
_LOG_MEAN = -4.268
_LOG_SCALE = 9.138


def scale_frame(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale an (H, W, 3) uint8 frame until its shorter side has 224 pixels."""
    return resize_short_side(frame, SIDE)


def video_views(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the views of scaled frames, (3 * (T - 1), 2, 224, 224, 3) uint8.

    `frames` is (T, H, W, 3) with T >= 2 and a shorter side of 224. Each frame and
    the next, in three crops: the beginning, the middle and the end of the longer
    side; pair by pair, crop by crop.

    Source: av-benchmark@050a5cd, extract_video.py:59-71; the crops are ImageBind's
    `SpatialCrop(224, num_crops=3)`.
    """
    height, width = frames.shape[1:3]
    axis, excess = (1, height - SIDE) if height > width else (2, width - SIDE)
    starts = (0, math.ceil(excess / 2), excess)
    crops = np.stack([frames.take(range(start, start + SIDE), axis) for start in starts], axis=1)
    pairs = np.stack([crops[:-1], crops[1:]], axis=2)
    return pairs.reshape(-1, 2, SIDE, SIDE, 3)


def normalise_views(views: Tensor) -> Tensor:
    """Return (n, 2, 224, 224, 3) uint8 pixels as (n, 3, 2, 224, 224) float32, normalised."""
    mean, deviation = (torch.tensor(value, device=views.device) for value in (_PIXEL_MEAN, _PIXEL_DEVIATION))
    return ((views / 255 - mean) / deviation).permute(0, 4, 1, 2, 3)


def sound_views(
    samples: NDArray[np.float32], *, shared_mean_quirk: bool = True, first_channel_quirk: bool = True
) -> NDArray[np.float32]:
    """Return the three views of a sound, (3, 128, 204) float32.

    `samples` is (channels, n) at 16 kHz with n >= 400. The views are 2 s long and
    stand at the beginning, in the middle and at the end; a shorter sound is taken
    whole three times. From each its mean over all channels is subtracted, then the
    spectrogram is that of the first channel, zero-padded on the right to 204 frames
    and normalised. With `shared_mean_quirk`, as upstream, the mean is subtracted in
    the sound itself, so that overlapping views (n < 6 s) see each other's shift. Without
    `first_channel_quirk` the spectrogram is that of the mean of all channels.

    Source: av-benchmark@050a5cd, av_bench/data/audio_dataset.py:154-199.
    """
    sound = samples.copy() if first_channel_quirk else samples.mean(axis=0, keepdims=True)
    views = []
    for start, end in _view_bounds(samples.shape[1]):
        view = sound[:, start:end] if shared_mean_quirk else sound[:, start:end].copy()
        view -= view.mean(dtype=np.float64)
        views.append(_fixed_length(log_mel(view[0])))
    return np.stack(views)


def _view_bounds(count: int) -> list[tuple[int, int]]:
    """First and last sample of each view; upstream reckons in fractions of float seconds."""
    latest = Fraction(max(count / SAMPLE_RATE - VIEW_SECONDS, 0))
    starts = [latest / (_SOUND_VIEWS - 1) * index for index in range(_SOUND_VIEWS)]
    return [(int(start * SAMPLE_RATE), int((start + VIEW_SECONDS) * SAMPLE_RATE)) for start in starts]


def _fixed_length(mel: NDArray[np.float32]) -> NDArray[np.float32]:
    spectrogram = np.zeros((BANDS, _SPECTROGRAM_FRAMES), np.float32)
    spectrogram[:, : len(mel)] = mel[:_SPECTROGRAM_FRAMES].T
    return (spectrogram - np.float32(_LOG_MEAN)) / np.float32(_LOG_SCALE)


def log_mel(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (frames, 128) log-mel energies of a 16 kHz waveform, (n,) with n >= 400.

    Kaldi's filter bank: whole frames of 25 ms every 10 ms, each freed of its mean,
    pre-emphasised, under a symmetric Hann window; power spectrum of 512 points;
    triangles in mel from 20 to 8000 Hz; natural log, floored at float32's epsilon.

    Source: torchaudio 2.11 `compliance.kaldi.fbank(htk_compat=True, use_energy=False,
    window_type="hanning", num_mel_bins=128, dither=0)`.
    """
    # In float32 as upstream: where a band is almost empty, its rounding is what one sees.
    frames = torch.from_numpy(waveform).unfold(0, FRAME, _HOP)
    frames = frames - frames.mean(dim=1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    windowed = (frames - _PRE_EMPHASIS * before) * torch.hann_window(FRAME, periodic=False)
    power = torch.fft.rfft(windowed, _FFT).abs() ** 2
    energies: NDArray[np.float32] = (power @ _mel_bank().T).clamp(min=_FLOOR).log().numpy()
    return energies


@cache
def _mel_bank() -> Tensor:
    lowest, highest = _mel(np.array([_LOWEST, SAMPLE_RATE / 2]))
    corners, step = np.linspace(lowest, highest, BANDS + 2, retstep=True)
    mel = _mel(np.arange(_FFT // 2 + 1) * SAMPLE_RATE / _FFT)
    return torch.from_numpy(np.maximum(0, 1 - np.abs(mel - corners[1:-1, None]) / step)).float()


def _mel(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1127 * np.log1p(frequency / 700)
