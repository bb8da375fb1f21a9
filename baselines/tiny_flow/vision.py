"""What tiny-flow sees: a small network over pictures, one feature vector for each of 25 a second.

It is trained before the flow to foretell the sound's latent from the pictures, by least squares,
and then frozen: what it knows of timing, material and loudness comes from pairs of picture
and sound alone.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from v2abench.baselines.tiny_flow.latent import COMPONENTS
from v2abench.errors import ClipFault
from v2abench.media.reading import FrameStream, read_media

FEATURES = 128
PICTURE = 48
FRAME_RATE = Fraction(25)


def shrink(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the middle square of (height, width, 3) as 48 × 48 pixels."""
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[top : top + side, left : left + side]
    if side == PICTURE:
        return square
    resized = cv2.resize(square, (PICTURE, PICTURE), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, dtype=np.uint8)


PICTURES = FrameStream(frame_rate=FRAME_RATE, short_side=PICTURE, transform=shrink)


def read_pictures(video: Path, tokens: int) -> NDArray[np.uint8]:
    """Return the first `tokens` pictures of a video, (tokens, 48, 48, 3) uint8 RGB.

    Up to a tenth of a second that is missing at the end shows the last picture again. Raises
    `ClipFault`, `too-short` where more is missing.
    """
    seconds = tokens / float(FRAME_RATE)
    pictures = read_media(video, seconds=seconds + 1e-6, sound=False, frames=[PICTURES]).frames[PICTURES]
    if isinstance(pictures, ClipFault):
        raise pictures
    missing = tokens - len(pictures)
    if missing > 0.1 * float(FRAME_RATE):
        raise ClipFault("too-short", f"the video has {len(pictures)} pictures at 25 fps, {tokens} are needed")
    return np.concatenate([pictures, np.repeat(pictures[-1:], max(missing, 0), axis=0)])


class VideoEncoder(nn.Module):
    """From (B, T, 48, 48, 3) uint8 pictures to (B, T, 128) features.

    Each picture goes in with its neighbours, so that motion is seen before anything is
    pooled; dilated convolutions over time then see about a second.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pictures = nn.Sequential(
            nn.Conv2d(9, 32, 4, stride=4),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 96, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(9 * 96, FEATURES),
        ).to(memory_format=torch.channels_last)
        self.times = nn.ModuleList(_TimeBlock(FEATURES, dilation) for dilation in (1, 2, 4, 1))
        self.norm = nn.LayerNorm(FEATURES)
        self.foretell = nn.Linear(FEATURES, COMPONENTS)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the features, (B, T, 128)."""
        batch, times = pictures.shape[:2]
        seen = _with_neighbours(pictures).flatten(0, 1).permute(0, 3, 1, 2)
        x = self.pictures(seen).unflatten(0, (batch, times))
        for block in self.times:
            x = block(x)
        return cast(Tensor, self.norm(x))

    @torch.inference_mode()
    def features(self, pictures: NDArray[np.uint8]) -> Tensor:
        """Return the (T, 128) features of one clip's (T, 48, 48, 3) pictures, on this module's device."""
        device = self.foretell.weight.device
        return cast(Tensor, self(torch.from_numpy(np.ascontiguousarray(pictures))[None].to(device))[0])


class _TimeBlock(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Conv1d(width, width, 5, padding=2 * dilation, dilation=dilation, groups=width)
        self.out = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.mix(self.norm(x).transpose(1, 2)).transpose(1, 2)
        return cast(Tensor, x + self.out(mixed))


def _with_neighbours(pictures: Tensor) -> Tensor:
    """Return (B, T, 48, 48, 9): each picture, and how it differs from the one before and the one after."""
    now = pictures.float() / 127.5 - 1
    change = 2 * now.diff(dim=1)
    before, after = (functional.pad(change, (0, 0) * 3 + sides) for sides in ((1, 0), (0, 1)))
    return torch.cat([now, before, after], dim=-1)
