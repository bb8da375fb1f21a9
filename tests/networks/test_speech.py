"""The speech waveform that PESQ reads."""

import numpy as np

from v2abench.media.audio import Audio
from v2abench.media.reading import AudioWindow
from v2abench.networks.speech import SpeechWaveform


def test_speech_is_the_mono_waveform_at_16_khz() -> None:
    t = np.arange(48000) / 48000
    tone = np.sin(2 * np.pi * 440 * t)
    samples = np.stack([0.5 * tone, 0.1 * tone]).astype(np.float32)
    prepared = SpeechWaveform().prepare(AudioWindow.of(Audio(samples, 48000), seconds=0.5))
    (clip,) = SpeechWaveform().load("cpu")([prepared])
    assert clip["waveform"].shape == (8000,)
    assert clip["waveform"].dtype == np.float32
    expected = 0.3 * np.sin(2 * np.pi * 440 * np.arange(8000) / 16000)
    np.testing.assert_allclose(clip["waveform"][100:], expected[100:], atol=1e-3)
