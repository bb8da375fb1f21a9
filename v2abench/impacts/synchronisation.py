"""The world's synchronisation network: by how much sound and picture are apart.

It stands in for Synchformer on the embedded benchmark: each side is encoded in two
segments of 3 s (0-3 s and 1-4 s of a clip), and a comparison over segment features
chooses one of 21 offsets from −1 s to 1 s. Positive: the sound is late.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from v2abench.contracts import Array, Forward, PairForward, Prepared, Stream
from v2abench.impacts.encoders import (
    MELS_PER_FRAME,
    PictureEncoder,
    SoundEncoder,
    moving,
    whole_sound,
    whole_video,
)
from v2abench.impacts.scenes import FRAME_RATE, FRAMES, SAMPLE_RATE
from v2abench.impacts.shipped import digest, with_shipped
from v2abench.impacts.spectrograms import log_mel
from v2abench.impacts.training_data import PIXELS
from v2abench.media.reading import FrameStream

if TYPE_CHECKING:
    from v2abench.media.reading import AudioWindow

OFFSETS: NDArray[np.float32] = np.linspace(-1, 1, 21).astype(np.float32)
"""The classes: offsets in seconds, -1.0, -0.9, ..., 1.0."""
SEGMENT = 3 * FRAME_RATE
"""Frames of a segment."""
STARTS = (0, FRAMES - SEGMENT)
"""The first frames of the two segments of a clip."""
WIDTH = 64
_HEADS = 8
_LAGS = 28


class SyncNet(nn.Module):
    """Both encoders, the comparison, and two heads that find the events in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.sound = SoundEncoder(WIDTH)
        self.picture = PictureEncoder(3, WIDTH)
        self.comparison = Comparison()
        self.sound_events = nn.Linear(WIDTH, 1)
        self.picture_events = nn.Linear(WIDTH, 1)


class Comparison(nn.Module):
    """(B, T, 64) features of picture and sound in; (B, 21) logits over `OFFSETS` out.

    Eight inner products of projected instants, averaged over all pairs of instants that
    are equally far apart, for each of 57 lags; convolutions turn them into classes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.of_picture = nn.Linear(WIDTH, WIDTH)
        self.of_sound = nn.Linear(WIDTH, WIDTH)
        self.refine = nn.Sequential(
            nn.BatchNorm1d(_HEADS),
            nn.Conv1d(_HEADS, 32, 5, padding=2),
            nn.ReLU(),
            nn.Conv1d(32, 8, 3, padding=1),
        )
        self.classify = nn.Linear(8 * (2 * _LAGS + 1), len(OFFSETS))

    def forward(self, picture: Tensor, sound: Tensor) -> Tensor:
        """See the class."""
        lags = correlation(self.of_picture(picture), self.of_sound(sound))
        return cast(Tensor, self.classify(self.refine(lags).relu().flatten(1)))


def correlation(picture: Tensor, sound: Tensor) -> Tensor:
    """Return (B, heads, 57): the mean product of picture at t and sound at t + lag, lag −28 to 28."""
    first, second = (side.reshape(*side.shape[:2], _HEADS, -1).transpose(1, 2) for side in (picture, sound))
    products = first @ second.transpose(-1, -2)
    means = [products.diagonal(lag, -2, -1).mean(-1) for lag in range(-_LAGS, _LAGS + 1)]
    return torch.stack(means, dim=-1)


@dataclass(frozen=True)
class ImpactsSyncAudio:
    """The `impacts_sync_audio` network: `segments` (2, 75, 64) and `frames` (100, 64) float32.

    `frames` are the features of the whole clip, one vector a video frame.
    """

    name: ClassVar[str] = "impacts_sync_audio"
    version: ClassVar[int] = 1
    modality: ClassVar[Literal["audio"]] = "audio"
    weights: ClassVar[tuple[str, ...]] = ()
    features: ClassVar[tuple[str, ...]] = ("segments", "frames")
    frames: ClassVar[None] = None

    @property
    def parameters(self) -> Mapping[str, object]:
        """The shipped weights."""
        return {"weights": digest("sync")}

    def prepare(self, media: AudioWindow) -> Prepared:
        """Return the log-mel spectrogram, (400, 64) float32; raises `ClipFault` under 3.9 s."""
        return Prepared({"clip": whole_sound(log_mel(media.waveform(SAMPLE_RATE)))})

    def load(self, device: str) -> Forward:
        """Return the forward half with the shipped weights on `device`."""
        encoder = with_shipped(SyncNet(), "sync").sound.to(device)
        return _forward(encoder, device, MELS_PER_FRAME)


@dataclass(frozen=True)
class ImpactsSyncVideo:
    """The `impacts_sync_video` network: `segments` (2, 75, 64) and `frames` (100, 64) float32.

    `frames` are the features of the whole clip, one vector a video frame.
    """

    name: ClassVar[str] = "impacts_sync_video"
    version: ClassVar[int] = 1
    modality: ClassVar[Literal["video"]] = "video"
    weights: ClassVar[tuple[str, ...]] = ()
    features: ClassVar[tuple[str, ...]] = ("segments", "frames")
    frames: ClassVar[FrameStream] = FrameStream(frame_rate=Fraction(FRAME_RATE), short_side=PIXELS)

    @property
    def parameters(self) -> Mapping[str, object]:
        """The shipped weights."""
        return {"weights": digest("sync")}

    def prepare(self, media: NDArray[np.uint8]) -> Prepared:
        """Return the small frames, (100, 48, 48, 3) uint8; raises `ClipFault` under 3.9 s."""
        return Prepared({"clip": whole_video(media)})

    def load(self, device: str) -> Forward:
        """Return the forward half with the shipped weights on `device`."""
        encoder = with_shipped(SyncNet(), "sync").picture.to(device)
        return _forward(lambda frames: encoder(moving(frames)), device, 1)


def _forward(encode: Callable[[Tensor], Tensor], device: str, rate: int) -> Forward:
    """Encode one clip at a time, whole and in segments; `rate` inputs make a frame."""

    @torch.inference_mode()
    def forward(batch: Sequence[Prepared]) -> list[Mapping[str, Array]]:
        found: list[Mapping[str, Array]] = []
        for prepared in batch:
            clip = torch.from_numpy(prepared.inputs["clip"]).to(device)
            parts = torch.stack([clip[rate * start : rate * (start + SEGMENT)] for start in STARTS])
            found.append(
                {"segments": encode(parts).cpu().numpy(), "frames": encode(clip[None])[0].cpu().numpy()}
            )
        return found

    return forward


@dataclass(frozen=True)
class ImpactsSync:
    """The `impacts_sync` pair network: `logits` (2, 21) float32 over `OFFSETS`, a row a segment."""

    name: ClassVar[str] = "impacts_sync"
    version: ClassVar[int] = 1
    features: ClassVar[tuple[str, ...]] = ("logits",)
    needs: ClassVar[Mapping[Stream, tuple[str, ...]]] = {
        "generated": ("impacts_sync_audio.segments",),
        "video": ("impacts_sync_video.segments",),
    }

    @property
    def parameters(self) -> Mapping[str, object]:
        """The shipped weights."""
        return {"weights": digest("sync")}

    def load(self, device: str) -> PairForward:
        """Return what compares one clip's segments, on `device`."""
        comparison = with_shipped(SyncNet(), "sync").comparison.to(device)

        def forward(inputs: Mapping[Stream, Mapping[str, Array]]) -> Mapping[str, Array]:
            picture = torch.tensor(inputs["video"]["impacts_sync_video.segments"], device=device)
            sound = torch.tensor(inputs["generated"]["impacts_sync_audio.segments"], device=device)
            with torch.inference_mode():
                return {"logits": comparison(picture, sound).cpu().numpy()}

        return forward
