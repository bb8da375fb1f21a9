"""The convolutional encoders that the world's networks are made of.

Both give one vector a video frame (25 a second), so that sound and picture can be
compared instant by instant.
"""

from __future__ import annotations

from typing import TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from v2abench.errors import ClipFault
from v2abench.impacts.scenes import FRAME_RATE, FRAMES
from v2abench.impacts.spectrograms import FRAMES_PER_S

Value = TypeVar("Value", bound=np.generic)

MEL_FRAMES = FRAMES * FRAMES_PER_S // FRAME_RATE
"""Of a clip: 400."""
MELS_PER_FRAME = FRAMES_PER_S // FRAME_RATE
_TOLERANCE_S = 0.1


class SoundEncoder(nn.Module):
    """From (B, 4·T, 64) log-mel to (B, T, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.planes = nn.Sequential(
            *_plane(1, 24, (1, 2)), *_plane(24, 32, (2, 2)), *_plane(32, 48, (2, 2)), *_plane(48, 64, (1, 2))
        )
        self.mix = nn.Sequential(*_line(256, width), *_line(width, width))

    def forward(self, mel: Tensor) -> Tensor:
        """See the class; the log-mel is shifted and scaled to about −2 to 2."""
        planes = self.planes((mel[:, None] + 3.0) / 2.0)
        return cast(Tensor, self.mix(planes.transpose(2, 3).flatten(1, 2)).transpose(1, 2))


class PictureEncoder(nn.Module):
    """From (B, T, channels, 48, 48) pictures to (B, T, width): each frame, then its neighbours."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.planes = nn.Sequential(
            *_plane(channels, 16, (2, 2)),
            *_plane(16, 24, (2, 2)),
            *_plane(24, 32, (2, 2)),
            *_plane(32, 48, (2, 2)),
        )
        self.mix = nn.Sequential(*_line(432, width), *_line(width, width))

    def forward(self, pictures: Tensor) -> Tensor:
        """See the class."""
        planes = self.planes(pictures.flatten(0, 1)).flatten(1)
        lines = planes.unflatten(0, pictures.shape[:2]).transpose(1, 2)
        return cast(Tensor, self.mix(lines).transpose(1, 2))


def _plane(inputs: int, outputs: int, stride: tuple[int, int]) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _line(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv1d(inputs, outputs, 5, padding=2, bias=False),
        nn.BatchNorm1d(outputs),
        nn.ReLU(inplace=True),
    )


def moving(frames: Tensor) -> Tensor:
    """Return what shows motion, (B, T, 3, 48, 48) float32, of (B, T, 48, 48, 3) uint8 frames.

    Brightness, its change since the frame before, and its change to the next one; the
    first and the last frame stand for their missing neighbours.
    """
    grey = _grey(frames)
    change = _change(grey)
    return torch.stack([grey - 0.5, change[:, :-1], change[:, 1:]], dim=2)


def coloured(frames: Tensor, step: int = 1) -> Tensor:
    """Return colours and motion of every `step`-th frame, (B, T / step, 5, 48, 48) float32.

    Of (B, T, 48, 48, 3) uint8 frames; motion is that between neighbours, whatever the step.
    """
    every = frames[:, ::step]
    change = _change(_grey(frames))
    seen = torch.empty((*every.shape[:-1], 5), device=frames.device)
    seen[..., :3] = every
    seen[..., :3].div_(255).sub_(0.5)
    seen[..., 3] = change[:, :-1:step]
    seen[..., 4] = change[:, 1::step]
    return seen.permute(0, 1, 4, 2, 3).contiguous()


def _grey(frames: Tensor) -> Tensor:
    return frames.float().mean(dim=-1) / 255


def _change(grey: Tensor) -> Tensor:
    """(B, T + 1, 48, 48): four times the change before each frame, and none after the last."""
    return 4 * functional.pad(torch.diff(grey, dim=1), (0, 0, 0, 0, 1, 1))


def whole_sound(mel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (400, 64) log-mel of a clip of 4 s; up to 0.1 s may be missing at its end.

    Raises `ClipFault` for a shorter sound.
    """
    return _whole(mel, MEL_FRAMES, FRAMES_PER_S, "sound")


def whole_video(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the (100, 48, 48, 3) frames of a clip of 4 s; up to 0.1 s may be missing at its end.

    Raises `ClipFault` for a shorter video, and for one that is not square.
    """
    if frames.shape[1:] != (48, 48, 3):
        raise ClipFault(
            "undefined", f"the networks of impacts see square videos, this one is {frames.shape[1:3]}"
        )
    return _whole(frames, FRAMES, FRAME_RATE, "video")


def _whole(values: NDArray[Value], count: int, rate: int, what: str) -> NDArray[Value]:
    missing = count - len(values)
    if missing > _TOLERANCE_S * rate:
        raise ClipFault(
            "too-short", f"the networks of impacts want 4 s, the {what} has {len(values) / rate:.2f} s"
        )
    if missing <= 0:
        return values[:count]
    return np.concatenate([values, np.repeat(values[-1:], missing, axis=0)])
