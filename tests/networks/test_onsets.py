"""Onsets against librosa.

`goldens/onsets.npz` holds, for each signal of `signals()`, what librosa 0.11.0
(NumPy 2.4.6) gives: `<name>_envelope` = onset_strength(y=y, sr=22050) and
`<name>_times` = onset_detect(onset_envelope=envelope, sr=22050, units="time"); and
`picks` = onset_detect(onset_envelope=ENVELOPE, sr=22050), which has crowded peaks.
"""

from pathlib import Path

import numpy as np
import pytest
from deterministic import wave
from numpy.typing import NDArray

from v2abench.media.audio import Audio
from v2abench.media.reading import AudioWindow
from v2abench.networks.onsets import HOP, SAMPLE_RATE, Onsets, onset_envelope, pick_onsets

ENVELOPE = np.random.Generator(np.random.PCG64(6)).gamma(1.0, size=600)
GOLDEN = np.load(Path(__file__).parents[1] / "goldens" / "onsets.npz")


def clicks(rate: int) -> NDArray[np.float32]:
    signal = np.zeros(4 * rate, np.float32)
    for seconds, height in ((0.2, 0.9), (0.7, 0.5), (1.5, 0.7), (2.4, 0.2), (3.2, 0.8)):
        signal[round(seconds * rate)] = height
    return signal


def signals() -> dict[str, NDArray[np.float32]]:
    noise = np.random.Generator(np.random.PCG64(5)).standard_normal(3 * SAMPLE_RATE)
    return {
        "wave": wave(8.0, SAMPLE_RATE, seed=1),
        "clicks": clicks(SAMPLE_RATE),
        "silence": np.zeros(SAMPLE_RATE, np.float32),
        "noise": (0.1 * noise).astype(np.float32),
        "short": wave(8.0, SAMPLE_RATE, seed=1)[-1500:],
    }


def times(samples: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    prepared = Onsets().prepare(AudioWindow.of(Audio(samples[None], rate), seconds=8.0))
    (clip,) = Onsets().load("cpu")([prepared])
    found: NDArray[np.float64] = clip["times"]
    return found


@pytest.mark.parametrize("name", signals())
def test_envelope_and_onsets_are_those_of_librosa(name: str) -> None:
    envelope = onset_envelope(signals()[name])
    np.testing.assert_allclose(envelope, GOLDEN[f"{name}_envelope"], rtol=0, atol=1e-4)
    found = pick_onsets(envelope) * HOP / SAMPLE_RATE
    np.testing.assert_allclose(found, GOLDEN[f"{name}_times"], rtol=0, atol=1e-9)


def test_crowded_peaks_are_picked_as_librosa_does() -> None:
    assert np.diff(GOLDEN["picks"]).min() == 2
    np.testing.assert_array_equal(pick_onsets(ENVELOPE), GOLDEN["picks"])


def test_onsets_of_a_file_at_another_rate_lie_where_the_clicks_are() -> None:
    found = times(clicks(48000), 48000)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [0.2, 0.7, 1.5, 2.4, 3.2], atol=HOP / SAMPLE_RATE)


def test_a_later_sound_has_later_onsets() -> None:
    signal = clicks(SAMPLE_RATE)
    late = np.concatenate([np.zeros(40 * HOP, np.float32), signal])
    expected = pick_onsets(onset_envelope(signal)) + 40
    assert len(expected) == 5
    np.testing.assert_array_equal(pick_onsets(onset_envelope(late)), expected)


def test_silence_and_a_single_sample_have_no_onsets() -> None:
    assert times(np.zeros(48000, np.float32), 48000).shape == (0,)
    assert times(np.ones(1, np.float32), 48000).shape == (0,)
