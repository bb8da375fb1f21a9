"""Batches of the world for training: log-mels, small pictures, and where the events are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from v2abench.impacts.scenes import FRAME_RATE, FRAMES, SAMPLE_RATE, SECONDS
from v2abench.impacts.spectrograms import FRAMES_PER_S, SILENCE, log_mel
from v2abench.impacts.training_data import TrainingData

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """The arrays of a split, as tensors."""

    data: TrainingData

    def draw(self, rng: Generator, count: int) -> Indices:
        """Draw so many different scenes."""
        return rng.choice(self.data.count, size=count, replace=False)

    def mels(self, indices: Indices) -> Tensor:
        """Return (n, 400, 64) float32 log-mel."""
        return torch.from_numpy(self.data.mels[indices].astype(np.float32))

    def frames(self, indices: Indices) -> Tensor:
        """Return (n, 100, 48, 48, 3) uint8 pictures."""
        return torch.from_numpy(self.data.frames(indices))

    def materials(self, indices: Indices) -> Tensor:
        """Return the numbers of the materials, (n,)."""
        return torch.from_numpy(self.data.materials[indices])

    def events(self, indices: Indices) -> Tensor:
        """Return how near each frame is to an event, (n, 100) in 0..1."""
        return self._events[torch.from_numpy(indices)]

    @cached_property
    def _events(self) -> Tensor:
        times = np.arange(FRAMES) / FRAME_RATE
        away = (times - self.data.events[..., None]) * FRAME_RATE
        return torch.from_numpy(np.nanmax(np.exp(-0.5 * away**2), axis=1).astype(np.float32))


def louder(rng: Generator, mels: Tensor, most_db: float = 3.0) -> Tensor:
    """Return the log-mels of the sounds at other levels, up to `most_db` louder or softer."""
    decibels = torch.from_numpy(rng.uniform(-most_db, most_db, size=len(mels)).astype(np.float32))
    return mels + decibels[:, None, None] / 10


def late(rng: Generator, mels: Tensor, share: float = 0.3, most_s: float = 0.6) -> Tensor:
    """Return the log-mels with this share of the sounds later or earlier, what is moved in being silence.

    So that digital silence at an end of a sound says nothing.
    """
    moved = mels.clone()
    for row in np.flatnonzero(rng.random(len(mels)) < share):
        by = int(rng.integers(1, round(most_s * FRAMES_PER_S))) * int(rng.choice((-1, 1)))
        moved[row] = moved[row].roll(by, 0)
        moved[row, slice(0, by) if by > 0 else slice(by, None)] = SILENCE
    return moved


def hollow(rng: Generator, count: int) -> Tensor:
    """Return (count, 400, 64) log-mels of sounds without any event: silence first, then coloured noises."""
    samples = round(SECONDS * SAMPLE_RATE)
    frequencies = np.maximum(np.fft.rfftfreq(samples, 1 / SAMPLE_RATE), 50.0)
    sounds = [np.zeros(samples)]
    for _ in range(count - 1):
        spectrum = np.fft.rfft(rng.standard_normal(samples)) * frequencies ** (-rng.uniform(0.0, 1.0))
        noise = np.fft.irfft(spectrum, samples)
        sounds.append(noise / noise.std() * 10 ** rng.uniform(-3.0, -0.5))
    return torch.from_numpy(np.stack([log_mel(sound.astype(np.float32)) for sound in sounds]))


def worn(rng: Generator, frames: Tensor, most: float = 3.0) -> Tensor:
    """Return uint8 frames with (uniform) noise of the strength that video codecs leave behind."""
    reach = rng.uniform(0.0, most) * 3**0.5
    noise = torch.frombuffer(bytearray(rng.bytes(frames.numel())), dtype=torch.uint8).view(frames.shape)
    worn_frames = frames.float().add_(noise, alpha=2 * reach / 255).sub_(reach)
    return worn_frames.round_().clamp_(0, 255).to(torch.uint8)
