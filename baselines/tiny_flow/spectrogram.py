"""Log-mel spectrograms and the way back to sound, without any weights.

16 kHz mono, frames of 512 samples (Hann) every 160, frame k centred on sample
160·k + 80, so that 10 ms of sound are one frame, with nothing left over at the ends. 64
triangular bands, evenly spaced on the mel scale, each the weighted mean of the power; a
white noise of root mean square r gives log(r²) in every band.

Back: magnitudes by non-negative multiplicative updates (Lee and Seung, 2001), phases by
fast Griffin-Lim (Perraudin, Balazs and Søndergaard, 2013) from a fixed random start, so that
the same spectrogram always gives the same sound.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

SAMPLE_RATE = 16000
HOP = 160
FRAME = 512
BANDS = 64
FLOOR = 1e-7
"""Power below which a band counts as silent."""

_PAD = (FRAME - HOP) // 2
_MAGNITUDE_UPDATES = 12
_PHASE_UPDATES = 16
_MOMENTUM = 0.99
_SILENT_WINDOW = 1e-3


def log_mel(waveforms: Tensor) -> Tensor:
    """Return the (B, frames, 64) float32 log-mel power of (B, samples) sounds, 160 samples a frame."""
    power = _spectrum(waveforms).abs().square()
    return torch.log(power @ _bands(waveforms.device).T + FLOOR)


def waveforms(mel: Tensor) -> Tensor:
    """Return (B, 160 · frames) float32 sounds within ±1 whose log-mel power is near (B, frames, 64) `mel`."""
    return torch.stack([_waveform(one) for one in mel])


def _waveform(mel: Tensor) -> Tensor:
    """Invert one spectrogram, whatever goes through with it: sums of a batch could be rounded otherwise."""
    magnitude = _magnitude((mel.exp() - FLOOR).clamp(min=0))
    generator = torch.Generator().manual_seed(0)
    angles = 2 * math.pi * torch.rand(magnitude.shape, generator=generator).to(mel.device)
    phase = torch.polar(torch.ones_like(magnitude), angles)
    previous = torch.zeros_like(phase)
    for _ in range(_PHASE_UPDATES):
        consistent = _spectrum(_overlap_add(magnitude * phase))[0]
        ahead = consistent + _MOMENTUM * (consistent - previous)
        phase = ahead / ahead.abs().clamp(min=1e-12)
        previous = consistent
    return _overlap_add(magnitude * phase)[0].clamp(-1, 1)


def _magnitude(power: Tensor) -> Tensor:
    """Return the (frames, bins) magnitudes whose bands have `power`: non-negative least squares."""
    bands = _bands(power.device)
    target = power @ bands
    spectrum = target / bands.sum(dim=0).clamp(min=1e-8)
    for _ in range(_MAGNITUDE_UPDATES):
        spectrum = spectrum * target / (spectrum @ bands.T @ bands).clamp(min=1e-20)
    return spectrum.sqrt()


def _spectrum(waveforms: Tensor) -> Tensor:
    """Return the (B, frames, 257) complex spectra, scaled so that white noise keeps its power."""
    padded = functional.pad(waveforms, (_PAD, _PAD))
    frames = padded.unfold(-1, FRAME, HOP) * _window(waveforms.device)
    spectrum: Tensor = torch.fft.rfft(frames) / _window(waveforms.device).square().sum().sqrt()
    return spectrum


def _overlap_add(spectrum: Tensor) -> Tensor:
    """Return (1, samples), the least-squares inverse of the (frames, 257) `spectrum`."""
    window = _window(spectrum.device)
    frames = torch.fft.irfft(spectrum * window.square().sum().sqrt(), n=FRAME) * window
    weight = _summed(window.square().expand_as(frames)).clamp(min=_SILENT_WINDOW)
    end = _PAD + HOP * len(frames)
    return (_summed(frames) / weight)[None, _PAD:end]


def _summed(frames: Tensor) -> Tensor:
    """Return the sum of (frames, 512) pieces that begin 160 samples apart."""
    hops = -(-FRAME // HOP)
    pieces = functional.pad(frames, (0, hops * HOP - FRAME)).view(len(frames), hops, HOP)
    total = frames.new_zeros(len(frames) + hops - 1, HOP)
    for hop in range(hops):
        total[hop : hop + len(frames)] += pieces[:, hop]
    return total.flatten()


@cache
def _window(device: torch.device) -> Tensor:
    return torch.hann_window(FRAME, device=device)


@cache
def _bands(device: torch.device) -> Tensor:
    """Return the (64, 257) filter bank; every row sums to 1."""
    frequencies = torch.linspace(0, SAMPLE_RATE / 2, FRAME // 2 + 1, dtype=torch.float64)
    mel = 1127 * torch.log1p(frequencies / 700)
    edges = torch.linspace(float(mel[1]), float(mel[-1]), BANDS + 2, dtype=torch.float64)
    rising = (mel - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - mel) / (edges[2:] - edges[1:-1])[:, None]
    weights = torch.minimum(rising, falling).clamp(min=0)
    # The lowest bands are narrower than a bin: they take the bin next to their centre.
    nearest = (mel - edges[1:-1, None]).abs().argmin(dim=1)
    empty = weights.sum(dim=1) < 1e-3
    weights[empty, nearest[empty]] = 1
    return (weights / weights.sum(dim=1, keepdim=True)).float().to(device)
