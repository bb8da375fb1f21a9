"""ImageBind's views against those of av-benchmark (`goldens/imagebind_inputs.npz`)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from deterministic import frames, wave
from numpy.typing import NDArray

from v2abench.networks.imagebind_inputs import (
    SAMPLE_RATE,
    normalise_views,
    scale_frame,
    sound_views,
    video_views,
)
from v2abench.selftest.goldens import golden

GOLDENS = Path(__file__).parents[1] / "goldens"
GOLDEN = np.load(GOLDENS / "imagebind_inputs.npz")
SHAPES = {"land": (240, 320), "port": (320, 240), "hd": (202, 360), "small": (120, 160)}


def scaled(name: str) -> NDArray[np.uint8]:
    height, width = SHAPES[name]
    top, left = (360 - height) // 2, (360 - width) // 2
    return scale_frame(frames(3, 360)[1].transpose(1, 2, 0)[top : top + height, left : left + width])


def mono(seconds: float) -> NDArray[np.float32]:
    return wave(seconds, SAMPLE_RATE)[None]


def ramp() -> NDArray[np.float32]:
    slope: NDArray[np.float32] = (0.05 * torch.linspace(0, 1, 80000)).numpy()
    return mono(5.0) + slope


def assert_sound(views: NDArray[np.float32], golden: NDArray[np.float32]) -> None:
    assert views.dtype == np.float32
    assert views.shape == golden.shape
    np.testing.assert_allclose(views, golden, rtol=0, atol=1e-4)


def test_three_views_of_8_seconds() -> None:
    assert_sound(sound_views(mono(8.0)), golden("imagebind")["audio_input_8s"])


def test_views_overlap_below_6_seconds() -> None:
    assert_sound(sound_views(mono(5.0)), GOLDEN["ib_audio_5s"])


def test_overlapping_views_see_each_others_mean_subtraction() -> None:
    assert_sound(sound_views(ramp())[1:], GOLDEN["ib_audio_5s_ramp"])


def test_the_quirk_can_be_left_out() -> None:
    samples = ramp()
    clean = sound_views(samples, shared_mean_quirk=False)
    assert np.abs(clean[1:] - GOLDEN["ib_audio_5s_ramp"]).max() > 0.05
    alone = sound_views(samples[:, 24000:56000], shared_mean_quirk=False)[0]
    np.testing.assert_allclose(clean[1], alone, rtol=0, atol=1e-6)


def test_the_mean_is_over_all_channels_and_the_spectrogram_of_the_first() -> None:
    second = 0.5 * wave(10.0, SAMPLE_RATE, seed=1) + np.float32(0.1)
    views = sound_views(np.stack([wave(10.0, SAMPLE_RATE), second]))
    assert_sound(views[1], GOLDEN["ib_audio_stereo10s_clip1"])


def test_a_short_sound_is_taken_whole_three_times() -> None:
    views = sound_views(mono(1.5))
    assert_sound(views[:1], GOLDEN["ib_audio_1.5s"])
    np.testing.assert_allclose(views, np.broadcast_to(views[0], views.shape), rtol=0, atol=1e-4)


def test_the_sound_itself_is_left_alone() -> None:
    samples = ramp()
    sound_views(samples)
    np.testing.assert_array_equal(samples, ramp())


@pytest.mark.parametrize("name", ["land", "port"])
def test_crops_are_those_of_the_reference(name: str) -> None:
    frame = scaled(name)
    crops = video_views(np.stack([frame, frame]))[:, 0].transpose(0, 3, 1, 2)
    difference = np.abs(crops.astype(int) - GOLDEN[f"{name}_ib_crops_u8"])
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


def test_crops_of_a_wide_frame_stand_where_the_reference_has_them() -> None:
    frame = scaled("hd")
    corners = video_views(np.stack([frame, frame]))[:, 0, :4, :4].transpose(0, 3, 1, 2)
    np.testing.assert_allclose(corners.astype(int), GOLDEN["hd_ib_crop_corner_u8"], rtol=0, atol=1)


def test_an_odd_excess_rounds_the_middle_crop_up() -> None:
    column = np.arange(227, dtype=np.uint8)
    clip = np.broadcast_to(column[None, None, :, None], (2, 224, 227, 3))
    assert video_views(clip)[:, 0, 0, 0, 0].tolist() == [0, 2, 3]


def test_views_go_pair_by_pair_then_crop_by_crop() -> None:
    clip = np.broadcast_to(np.arange(4, dtype=np.uint8)[:, None, None, None], (4, 224, 224, 3))
    pairs = video_views(clip)[..., 0, 0, 0]
    assert pairs.tolist() == [[0, 1]] * 3 + [[1, 2]] * 3 + [[2, 3]] * 3


@pytest.mark.parametrize("name", SHAPES)
def test_pixels_are_normalised_as_in_the_reference(name: str) -> None:
    frame = scaled(name)
    views = normalise_views(torch.from_numpy(video_views(np.stack([frame, frame]))))
    assert views.shape == (3, 3, 2, 224, 224)
    assert views.dtype == torch.float32
    np.testing.assert_allclose(views[0, :, 0, :4, :4], GOLDEN[f"{name}_ib_norm_corner"], rtol=0, atol=0.02)
