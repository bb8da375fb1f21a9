"""Motion against OpenCV called as AV-Align calls it, and against known displacements."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from deterministic import frames
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from v2abench.errors import ClipFault
from v2abench.networks.motion import Motion, flow_magnitude, local_maxima


def ball(count: int = 8) -> NDArray[np.uint8]:
    return np.asarray(frames(count, 256).mean(axis=1), dtype=np.uint8)


def texture(offsets: list[int]) -> NDArray[np.uint8]:
    """A smooth pattern that stands at each of `offsets`, in pixels to the right."""
    noise = gaussian_filter(np.random.default_rng(0).standard_normal((96, 128)), 3, mode="wrap")
    picture = np.interp(noise, (noise.min(), noise.max()), (0, 255)).astype(np.uint8)
    return np.stack([np.roll(picture, offset, axis=1) for offset in offsets])


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


def reference(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> float:
    flow = cv2.calcOpticalFlowFarneback(before, after, np.zeros((256, 256, 2)), 0.5, 3, 15, 3, 5, 1.2, 0)
    return cv2.mean(cv2.magnitude(flow[..., 0], flow[..., 1]))[0]


def test_the_curve_is_av_aligns() -> None:
    video = ball()
    expected = [reference(video[0], video[1])] + [reference(video[i - 1], video[i]) for i in range(1, 8)]
    np.testing.assert_allclose(flow_magnitude(video), expected, rtol=1e-6)


def test_the_unit_is_pixels_per_frame() -> None:
    np.testing.assert_allclose(flow_magnitude(texture([0, 2, 4, 5])), [2, 2, 2, 1], rtol=0.1)


def test_a_still_picture_does_not_move() -> None:
    assert flow_magnitude(texture([0, 0, 0])).max() < 0.01


def test_a_jerk_is_a_peak_at_its_time() -> None:
    video = texture([0, 1, 2, 5, 6, 7, 8])
    prepared = Motion().prepare(video)
    (clip,) = Motion().load("cpu")([prepared])
    np.testing.assert_allclose(clip["peaks"], [3 / 25])
    assert clip["peaks"].dtype == clip["magnitude"].dtype == np.float64
    assert clip["magnitude"].shape == (7,)


def test_maxima_are_strict_and_inside() -> None:
    curve = np.array([9.0, 1.0, 3.0, 2.0, 4.0, 4.0, 1.0, 2.0, 1.0, 5.0])
    np.testing.assert_array_equal(local_maxima(curve), [2, 7])
    assert local_maxima(np.array([1.0, 1.0])).size == 0


def test_values_do_not_depend_on_threads() -> None:
    cv2.setNumThreads(1)
    one = flow_magnitude(ball())
    cv2.setNumThreads(2)
    np.testing.assert_array_equal(flow_magnitude(ball()), one)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_frames_are_too_short(count: int) -> None:
    with pytest.raises(ClipFault, match=f"too-short.*the clip has {count}"):
        Motion().prepare(ball()[:count])


def test_parameters_name_what_is_asked_of_the_reader() -> None:
    network = Motion(short_side=96)
    assert network.parameters == {"frame_rate": "25", "short_side": 96}
    assert network.frames.short_side == 96
    assert network.frames.pixel_format == "gray"
