"""The resize of frames against torchvision's (`goldens/resizing.npz`).

The goldens are a frame of `frames(3, 360)`, cut to four shapes, resized to a short
side of 224 and cut to the central 224 x 224.
"""

from pathlib import Path

import numpy as np
import pytest
from deterministic import frames
from numpy.typing import NDArray

from v2abench.networks.resizing import resize_short_side

GOLDEN = np.load(Path(__file__).parents[1] / "goldens" / "resizing.npz")
SHAPES = {"land": (240, 320), "port": (320, 240), "hd": (202, 360), "small": (120, 160)}


def picture(height: int, width: int) -> NDArray[np.uint8]:
    top, left = (360 - height) // 2, (360 - width) // 2
    whole: NDArray[np.uint8] = frames(3, 360)[1].transpose(1, 2, 0)
    return whole[top : top + height, left : left + width]


@pytest.mark.parametrize("name", SHAPES)
def test_pixels_are_those_of_torchvision(name: str) -> None:
    resized = resize_short_side(picture(*SHAPES[name]), 224)
    assert resized.dtype == np.uint8
    assert resized.shape == (*GOLDEN[f"{name}_hw"], 3)
    top, left = (round((side - 224) / 2) for side in resized.shape[:2])
    middle = resized[top : top + 224, left : left + 224].transpose(2, 0, 1)
    difference = np.abs(middle.astype(int) - GOLDEN[f"{name}_u8"])
    # torch's kernels for different processors may round differently.
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


def test_a_frame_of_the_right_size_stays_as_it_is() -> None:
    frame = picture(224, 300)
    assert resize_short_side(frame, 224) is frame


def test_a_frame_that_must_not_be_written_to_is_no_trouble() -> None:
    frame = picture(240, 320)
    expected = resize_short_side(frame, 224)
    frame.flags.writeable = False
    np.testing.assert_array_equal(resize_short_side(frame, 224), expected)
