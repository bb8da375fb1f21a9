import tracemalloc
from math import ceil

import numpy as np
import pytest
from deterministic import wave

from v2abench.media.audio import Audio
from v2abench.media.reading import AudioWindow
from v2abench.media.resampling import resample
from v2abench.selftest.goldens import golden

GOLDEN = golden("audio_io")
PAIRS = [(a, b) for a in (16000, 22050, 44100, 48000) for b in (16000, 32000, 48000)]


@pytest.mark.parametrize(("rate", "target"), PAIRS)
def test_window_is_that_of_av_benchmark(rate: int, target: int) -> None:
    stereo = np.stack([wave(3, rate, 3), np.float32(0.5) * wave(3, rate, 4) + np.float32(0.1)])
    cut = AudioWindow.of(Audio(stereo, rate), seconds=2.5).waveform(target)
    whole = AudioWindow.of(Audio(stereo, rate), seconds=10.0).waveform(target)
    np.testing.assert_array_equal([len(cut), len(whole)], GOLDEN[f"len{rate}_{target}"])
    np.testing.assert_allclose(
        np.concatenate([cut[:1500], cut[-500:]]), GOLDEN[f"a{rate}_{target}"], rtol=0, atol=2e-6
    )


@pytest.mark.parametrize(("source", "target"), [(11025, 44100), (48000, 16000), (44101, 16000), (3, 7)])
def test_each_sample_is_the_windowed_sinc_sum(source: int, target: int) -> None:
    x = wave(max(0.1, 40 / source), source).astype(np.float64)
    y = resample(x.astype(np.float32), source, target)
    cutoff = 0.99 * min(source, target)
    for n in (0, 1, len(y) // 2, len(y) - 1):
        t = np.clip((np.arange(len(x)) / source - n / target) * cutoff, -6, 6)
        expected = cutoff / source * np.sum(x * np.cos(np.pi * t / 12) ** 2 * np.sinc(t))
        assert y[n] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("source", "target"), [(44101, 16000), (192000, 16000), (16000, 44101)])
def test_odd_ratios_need_little_memory(source: int, target: int) -> None:
    t = np.arange(8 * source) / source
    x = np.sin(2 * np.pi * 1000 * t).astype(np.float32)
    tracemalloc.start()
    y = resample(x, source, target)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
    assert len(y) == ceil(len(x) * target / source)
    expected = np.sin(2 * np.pi * 1000 * np.arange(len(y)) / target)
    np.testing.assert_allclose(y[500:-500], expected[500:-500], atol=2e-3)


def test_works_along_the_last_axis() -> None:
    x = np.stack([wave(0.2, 22050, seed) for seed in range(6)]).reshape(2, 3, -1)
    y = resample(x, 22050, 16000)
    assert y.dtype == np.float32
    for index in np.ndindex(2, 3):
        np.testing.assert_array_equal(y[index], resample(x[index], 22050, 16000))


def test_equal_rates_and_empty_signals_change_nothing() -> None:
    x = wave(0.1, 8000)
    assert resample(x, 8000, 8000) is x
    assert resample(x[:0], 8000, 16000).shape == (0,)
