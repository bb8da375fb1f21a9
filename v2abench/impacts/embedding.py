"""The world's two-tower embedding: what is heard and what is seen, in one space.

It stands in for ImageBind on the embedded benchmark. A tower encodes instants, keeps
when things happen (it projects all instants, not their mean) and what they are, and
ends in a vector of unit length; a video and its own sound are near each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from v2abench.contracts import Array, Forward, Prepared
from v2abench.impacts.encoders import PictureEncoder, SoundEncoder, coloured, whole_sound, whole_video
from v2abench.impacts.materials import MATERIALS
from v2abench.impacts.scenes import FRAME_RATE, FRAMES, SAMPLE_RATE
from v2abench.impacts.shipped import digest, with_shipped
from v2abench.impacts.spectrograms import log_mel
from v2abench.impacts.training_data import PIXELS
from v2abench.media.reading import FrameStream

if TYPE_CHECKING:
    from v2abench.media.reading import AudioWindow

DIMENSIONS = 128
STEP = 2
"""Every second frame is looked at; the motion between it and its neighbours is seen too."""
_WIDTH = 64
_INSTANTS = FRAMES // STEP


class EmbeddingNet(nn.Module):
    """Both towers; `logit_scale` is the logarithm of the factor on cosines in training."""

    def __init__(self) -> None:
        super().__init__()
        self.sound = _SoundTower()
        self.picture = _PictureTower()
        self.logit_scale = nn.Parameter(torch.tensor(2.5))


class _Head(nn.Module):
    """From (B, 50, 64) instants to (B, 128): when (all instants, narrowed) and what (mean and maximum).

    `materials` and `events` are read in training only.
    """

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Linear(_WIDTH, 12)
        self.project = nn.Sequential(
            nn.Linear(12 * _INSTANTS + 2 * _WIDTH, 256), nn.ReLU(), nn.Linear(256, DIMENSIONS)
        )
        self.materials = nn.Linear(2 * _WIDTH, len(MATERIALS))
        self.events = nn.Linear(_WIDTH, 1)

    def forward(self, instants: Tensor) -> Tensor:
        when, what = self.narrow(instants).flatten(1), pooled(instants)
        return functional.normalize(self.project(torch.cat([when, what], dim=1)), dim=1)


def pooled(instants: Tensor) -> Tensor:
    """Return mean and maximum over time, (B, 2 · width)."""
    return torch.cat([instants.mean(1), instants.amax(1)], dim=1)


class _SoundTower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = SoundEncoder(_WIDTH)
        self.head = _Head()

    def instants(self, mel: Tensor) -> Tensor:
        """Return (B, 50, 64) of (B, 400, 64) log-mel."""
        return functional.max_pool1d(self.encoder(mel).transpose(1, 2), STEP).transpose(1, 2)

    def forward(self, mel: Tensor) -> Tensor:
        return self.head(self.instants(mel))  # type: ignore[no-any-return]


class _PictureTower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = PictureEncoder(5, _WIDTH)
        self.head = _Head()

    def instants(self, frames: Tensor) -> Tensor:
        """Return (B, 50, 64) of (B, 100, 48, 48, 3) uint8 frames."""
        return self.encoder(coloured(frames, STEP))  # type: ignore[no-any-return]

    def forward(self, frames: Tensor) -> Tensor:
        return self.head(self.instants(frames))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class ImpactsAudio:
    """The `impacts_audio` network: `embedding` (128,) float32 of unit length."""

    name: ClassVar[str] = "impacts_audio"
    version: ClassVar[int] = 1
    modality: ClassVar[Literal["audio"]] = "audio"
    weights: ClassVar[tuple[str, ...]] = ()
    features: ClassVar[tuple[str, ...]] = ("embedding",)
    frames: ClassVar[None] = None

    @property
    def parameters(self) -> Mapping[str, object]:
        """The shipped weights."""
        return {"weights": digest("embedding")}

    def prepare(self, media: AudioWindow) -> Prepared:
        """Return the log-mel spectrogram, (400, 64) float32; raises `ClipFault` under 3.9 s."""
        return Prepared({"clip": whole_sound(log_mel(media.waveform(SAMPLE_RATE)))})

    def load(self, device: str) -> Forward:
        """Return the forward half with the shipped weights on `device`."""
        return _forward(with_shipped(EmbeddingNet(), "embedding").sound.to(device), device)


@dataclass(frozen=True)
class ImpactsVideo:
    """The `impacts_video` network: `embedding` (128,) float32 of unit length."""

    name: ClassVar[str] = "impacts_video"
    version: ClassVar[int] = 1
    modality: ClassVar[Literal["video"]] = "video"
    weights: ClassVar[tuple[str, ...]] = ()
    features: ClassVar[tuple[str, ...]] = ("embedding",)
    frames: ClassVar[FrameStream] = FrameStream(frame_rate=Fraction(FRAME_RATE), short_side=PIXELS)

    @property
    def parameters(self) -> Mapping[str, object]:
        """The shipped weights."""
        return {"weights": digest("embedding")}

    def prepare(self, media: NDArray[np.uint8]) -> Prepared:
        """Return the small frames, (100, 48, 48, 3) uint8; raises `ClipFault` under 3.9 s."""
        return Prepared({"clip": whole_video(media)})

    def load(self, device: str) -> Forward:
        """Return the forward half with the shipped weights on `device`."""
        return _forward(with_shipped(EmbeddingNet(), "embedding").picture.to(device), device)


def _forward(tower: Callable[[Tensor], Tensor], device: str) -> Forward:
    @torch.inference_mode()
    def forward(batch: Sequence[Prepared]) -> list[Mapping[str, Array]]:
        clips = (torch.from_numpy(prepared.inputs["clip"])[None].to(device) for prepared in batch)
        return [{"embedding": tower(clip)[0].cpu().numpy()} for clip in clips]

    return forward
