"""Levels against what the standards say: EBU Tech 3341 (cases 1 to 6, 15), BS.1770-4, and arithmetic."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import sosfreqz

from v2abench.media.audio import Audio
from v2abench.media.reading import AudioWindow
from v2abench.networks.levels import (
    Levels,
    clipping_share,
    dc_offset,
    k_weighting,
    loudness,
    silence_share,
    true_peak,
)

RATE = 48000


def sine(decibels: float, seconds: float, rate: int = RATE, hertz: float = 1000.0) -> NDArray[np.float32]:
    t = np.arange(round(seconds * rate)) / rate
    return (10 ** (decibels / 20) * np.sin(2 * np.pi * hertz * t)).astype(np.float32)


def stereo(*parts: tuple[float, float]) -> NDArray[np.float32]:
    """Tones of (dBFS, seconds), one after the other, the same in two channels."""
    return np.tile(np.concatenate([sine(*part) for part in parts]), (2, 1))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(-23, 20)], -23),
        ([(-33, 20)], -33),
        ([(-36, 10), (-23, 60), (-36, 10)], -23),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23),
    ],
)
def test_loudness_of_the_ebu_cases(parts: list[tuple[float, float]], expected: float) -> None:
    assert loudness(stereo(*parts), RATE) == pytest.approx(expected, abs=0.1)


def test_loudness_of_the_ebu_surround_case() -> None:
    left, centre, surround = sine(-28, 20), sine(-24, 20), sine(-30, 20)
    five = np.stack([left, left, centre, surround, surround])
    assert loudness(five, RATE) == pytest.approx(-23, abs=0.1)
    loud_bass = np.stack([left, left, centre, sine(0, 20), surround, surround])
    assert loudness(loud_bass, RATE) == pytest.approx(loudness(five, RATE), abs=1e-9)


def test_a_full_scale_997_hz_sine_in_one_channel_has_minus_3_01_lufs() -> None:
    assert loudness(sine(0, 5, hertz=997)[None], RATE) == pytest.approx(-3.01, abs=0.01)


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 96000])
def test_loudness_hardly_depends_on_the_sample_rate(rate: int) -> None:
    tones = np.stack([sine(-20, 3, rate, hertz) for hertz in (60.0, 1500.0)])
    tones_48k = np.stack([sine(-20, 3, RATE, hertz) for hertz in (60.0, 1500.0)])
    assert loudness(tones, rate) == pytest.approx(loudness(tones_48k, RATE), abs=0.1)


def test_k_weighting_at_48_khz_is_the_table_of_the_standard() -> None:
    table = [
        [1.53512485958697, -2.69169618940638, 1.19839281085285, 1, -1.69065929318241, 0.73248077421585],
        [1, -2, 1, 1, -1.99004745483398, 0.99007225036621],
    ]
    np.testing.assert_allclose(k_weighting(48000), table, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rate", [32000, 44100, 96000])
def test_k_weighting_keeps_its_curve_at_other_rates(rate: int) -> None:
    hertz = [20, 38, 100, 500, 1000, 1682, 3000]
    found, expected = (np.abs(sosfreqz(k_weighting(r), hertz, fs=r)[1]) for r in (rate, 48000))
    np.testing.assert_allclose(20 * np.log10(found / expected), 0, atol=0.1)


def test_the_relative_gate_is_10_lu_under_the_mean() -> None:
    kept = 10 * np.log10((10**-2.0 + 10**-3.15) / 2)
    assert loudness(stereo((-20, 20), (-31.5, 20)), RATE) == pytest.approx(kept, abs=0.1)
    assert loudness(stereo((-20, 20), (-33.5, 20)), RATE) == pytest.approx(-20, abs=0.1)


def test_blocks_begin_every_100_ms() -> None:
    late = np.concatenate([np.zeros((2, 4800), np.float32), stereo((-20, 0.4))], axis=1)
    assert loudness(late, RATE) == pytest.approx(-20 + 10 * np.log10((3 / 4 + 1) / 2), abs=0.1)


def test_loudness_never_leaves_its_floor_downwards() -> None:
    assert loudness(np.zeros((2, RATE), np.float32), RATE) == -70
    assert loudness(stereo((-80, 2)), RATE) == -70
    assert loudness(stereo((-20, 0.399)), RATE) == -70
    assert loudness(stereo((-20, 0.4)), RATE) == pytest.approx(-20, abs=0.2)


def test_true_peak_lies_between_the_samples() -> None:
    t = np.arange(RATE)
    fade = np.minimum(1, np.minimum(t, t[::-1]) / 4800)
    between = (0.5 * fade * np.sin(2 * np.pi * t / 4 + np.pi / 4)).astype(np.float32)[None]
    sample_peak = 20 * np.log10(np.abs(between).max())
    assert true_peak(between) - sample_peak == pytest.approx(3.01, abs=0.1)
    assert true_peak(between) == pytest.approx(-6.0, abs=0.2)


def test_true_peak_is_never_under_a_sample_nor_under_its_floor() -> None:
    alternating = (np.hanning(2001) * (-1.0) ** np.arange(2001)).astype(np.float32)
    assert 0 <= true_peak(alternating[None]) < 0.01
    assert true_peak(np.zeros((2, 100), np.float32)) == pytest.approx(-120)


def test_silence_share_counts_frames_that_are_silent_in_every_channel() -> None:
    tone = sine(-20, 0.5)
    both = np.stack([np.concatenate([tone, 0 * tone]), np.concatenate([0 * tone, 1e-3 * tone])])
    assert silence_share(both, RATE) == pytest.approx(0.5)
    assert silence_share(both[:1, :10], RATE) == 0
    assert silence_share(np.full((1, RATE), 0.00101, np.float32), RATE) == 0
    assert silence_share(np.full((1, RATE), 0.00099, np.float32), RATE) == 1


def test_clipping_share_counts_runs_of_three() -> None:
    samples = np.zeros((2, 20), np.float32)
    samples[0, [1, 2, 5, 6, 7, 19]] = 1.0
    samples[1, 10:14] = [-1.0, -0.9991, -1.0, -1.0]
    assert clipping_share(samples) == pytest.approx(7 / 40)


def test_dc_offset_is_that_of_the_worst_channel() -> None:
    samples = np.stack([sine(-20, 1) + np.float32(0.1), sine(-20, 1) - np.float32(0.2)])
    assert dc_offset(samples) == pytest.approx(0.2, abs=1e-6)


def test_features_are_scalars_of_the_sound_as_it_is() -> None:
    samples = stereo((-20, 1)) + np.float32(0.25)
    prepared = Levels().prepare(AudioWindow.of(Audio(samples, RATE), seconds=8.0))
    (clip,) = Levels().load("cpu")([prepared])
    assert tuple(clip) == Levels.features
    assert all(value.shape == () and value.dtype == np.float64 for value in clip.values())
    assert float(clip["dc_offset"]) == pytest.approx(0.25, abs=1e-6)
