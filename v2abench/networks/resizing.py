"""Resizing of frames as torchvision does it: antialiased bicubic, in 8 bits."""

import numpy as np
import torch
from numpy.typing import NDArray


def resize_short_side(frame: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Scale a frame, up or down, until its shorter side has `size` pixels.

    `frame` is (H, W, 3) uint8; the longer side becomes int(size * longer / shorter).
    A frame that has that size already is returned as it is.

    Source: torchvision 0.29 `transforms.v2.Resize(size, BICUBIC, antialias=True)`
    of a uint8 tensor, which is this very kernel of torch; it rounds back to 8 bits
    after each of its two passes.
    """
    height, width = frame.shape[:2]
    shorter = min(height, width)
    return resize(frame, (int(size * height / shorter), int(size * width / shorter)))


def resize(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale a frame, (H, W, 3) uint8, to (height, width) `size`; one that has it already is returned.

    Source: as `resize_short_side`.
    """
    if size == frame.shape[:2]:
        return frame
    picture = torch.tensor(frame).permute(2, 0, 1)[None]
    scaled = torch.nn.functional.interpolate(picture, size, mode="bicubic", antialias=True)
    resized: NDArray[np.uint8] = scaled[0].permute(1, 2, 0).contiguous().numpy()
    return resized
