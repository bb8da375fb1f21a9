"""How much a video moves: mean optical-flow magnitude, as AV-Align picks its video peaks.

AV-Align (Yariv et al., AAAI 2024; guyyariv/TempoTokens, av_align.py) averages
the magnitude of Farneback's dense optical flow over each pair of neighbouring
frames and takes the local maxima of that curve as the moments where something
happens. The reference runs on frames of native rate and size; here all videos
come at one frame rate and scaled down to one short side, both parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import ClassVar, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from v2abench.contracts import Forward, Prepared
from v2abench.errors import ClipFault
from v2abench.media.reading import FrameStream
from v2abench.networks.facts import pass_through

FRAME_RATE = Fraction(25)
"""Frames per second; AV-Align's tolerance of one frame counts on it."""


def flow_magnitude(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mean flow magnitude of each frame against the one before, (T,) in pixels.

    `frames` is (T, height, width) gray with T >= 2. The first frame, which has
    none before it, gets the value of the second, as in the reference.
    """
    moved = [_mean_flow(before, after) for before, after in pairwise(frames)]
    return np.array([moved[0], *moved])


def _mean_flow(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> float:
    flow = cv2.calcOpticalFlowFarneback(
        before,
        after,
        np.empty((*before.shape, 2), np.float32),
        pyr_scale=0.5,
        levels=3,
        winsize=15,
        iterations=3,
        poly_n=5,
        poly_sigma=1.2,
        flags=0,
    )
    return float(cv2.magnitude(flow[..., 0], flow[..., 1]).mean(dtype=np.float64))


def local_maxima(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the indices of the strict local maxima; an end is none."""
    inner = values[1:-1]
    return 1 + np.flatnonzero((inner > values[:-2]) & (inner > values[2:]))


@dataclass(frozen=True)
class Motion:
    """The `motion` network: `magnitude` (frames,) float64 in pixels per frame,
    `peaks` (k,) float64 in seconds.

    Pixels are those of the scaled frames, whose shorter side is at most
    `short_side`. A peak at frame i, the strict local maximum of the flow from
    frame i-1 to i, is at i / 25.
    """

    short_side: int = 192

    name: ClassVar[str] = "motion"
    version: ClassVar[int] = 1
    modality: ClassVar[Literal["video"]] = "video"
    weights: ClassVar[tuple[str, ...]] = ()
    features: ClassVar[tuple[str, ...]] = ("magnitude", "peaks")

    @property
    def parameters(self) -> Mapping[str, object]:
        """What changes the values."""
        return {"frame_rate": str(FRAME_RATE), "short_side": self.short_side}

    @property
    def frames(self) -> FrameStream:
        """Gray frames at one rate and of bounded size."""
        return FrameStream(frame_rate=FRAME_RATE, pixel_format="gray", short_side=self.short_side)

    def prepare(self, media: NDArray[np.uint8]) -> Prepared:
        """Measure the motion of (T, height, width) gray frames; nothing is left for the device.

        Raises `ClipFault` for fewer than two frames.
        """
        if len(media) < 2:
            raise ClipFault("too-short", f"motion needs at least 2 frames, the clip has {len(media)}")
        magnitude = flow_magnitude(media)
        return Prepared({"magnitude": magnitude, "peaks": local_maxima(magnitude) / float(FRAME_RATE)})

    def load(self, device: str) -> Forward:  # noqa: ARG002 (the contract's signature)
        """Return the forward half, which hands on what `prepare` measured."""
        return pass_through
