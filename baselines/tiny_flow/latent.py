"""The latent: 40 ms of log-mel spectrogram as 64 principal components.

A token is four frames of 64 bands, so one token belongs to one picture at 25 fps. A
component with standard deviation s is divided by √s: raw components leave the small ones
unheard in the noise, whitened ones make the flow spend itself on what nobody hears. One factor
then brings the mean variance to 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from v2abench.baselines.tiny_flow.spectrogram import BANDS, HOP, SAMPLE_RATE, log_mel, waveforms

FRAMES_A_TOKEN = 4
COMPONENTS = 64
TOKENS_A_SECOND = SAMPLE_RATE / (HOP * FRAMES_A_TOKEN)
SAMPLES_A_TOKEN = HOP * FRAMES_A_TOKEN

_DIMENSIONS = FRAMES_A_TOKEN * BANDS


class LatentSpace(nn.Module):
    """The statistics (mean, components, scale) as buffers, and both ways through them."""

    mean: Tensor
    components: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(_DIMENSIONS))
        self.register_buffer("components", torch.zeros(COMPONENTS, _DIMENSIONS))
        self.register_buffer("scale", torch.ones(COMPONENTS))

    def encode(self, sounds: Tensor) -> Tensor:
        """Return the (B, tokens, 64) latents of (B, 640 · tokens) sounds at 16 kHz."""
        return self.project(log_mel(sounds))

    def project(self, mel: Tensor) -> Tensor:
        """Return the (B, tokens, 64) latents of (B, 4 · tokens, 64) log-mel spectrograms."""
        return (_grouped(mel) - self.mean) @ self.components.T / self.scale

    def spectrogram(self, latents: Tensor) -> Tensor:
        """Return the (B, 4 · tokens, 64) log-mel spectrograms of latents."""
        tokens = (latents * self.scale) @ self.components + self.mean
        return tokens.reshape(len(latents), -1, BANDS)

    def decode(self, latents: Tensor) -> Tensor:
        """Return the (B, 640 · tokens) sounds of (B, tokens, 64) latents."""
        return waveforms(self.spectrogram(latents))


def fit(mel: Tensor) -> LatentSpace:
    """Return the latent space of (clips, frames, 64) log-mel spectrograms; float64 inside."""
    tokens = _grouped(mel).reshape(-1, _DIMENSIONS)
    total = torch.zeros(_DIMENSIONS, dtype=torch.float64)
    square = torch.zeros(_DIMENSIONS, _DIMENSIONS, dtype=torch.float64)
    for part in torch.split(tokens, 20_000):
        wide = part.double()
        total += wide.sum(dim=0)
        square += wide.T @ wide
    mean = total / len(tokens)
    variances, directions = torch.linalg.eigh(square / len(tokens) - mean.outer(mean))
    deviations = variances.flip(0)[:COMPONENTS].clamp(min=1e-12).sqrt()
    components = _signed(directions.T.flip(0)[:COMPONENTS])
    space = LatentSpace()
    # Dividing by √s leaves the variance s; the factor makes the mean of those 1.
    scale = deviations.sqrt() * deviations.mean().sqrt()
    for name, value in (("mean", mean), ("components", components), ("scale", scale)):
        space.get_buffer(name).copy_(value)
    return space


def _signed(components: Tensor) -> Tensor:
    """Give each component the sign that makes its largest entry positive: eigenvectors have none."""
    largest = components.gather(1, components.abs().argmax(dim=1, keepdim=True))
    return components * largest.sign()


def _grouped(mel: Tensor) -> Tensor:
    return mel.reshape(*mel.shape[:-2], -1, _DIMENSIONS)
