import wave as wave_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deterministic import wave
from media_files import make_video, make_wav, tone
from numpy.typing import NDArray

from v2abench.errors import ClipFault
from v2abench.media.audio import Audio
from v2abench.media.reading import AudioWindow, read_audio, read_media
from v2abench.media.resampling import resample


def sound_of(path: Path, seconds: float = 8.0) -> AudioWindow:
    sound = read_media(path, seconds=seconds).sound
    assert isinstance(sound, AudioWindow)
    return sound


SINE = tone(0.5, 8000, channels=2)
FORMATS: dict[str, tuple[NDArray[Any], float]] = {
    "uint8": (np.rint(SINE * 128 + 128).astype(np.uint8), 1 / 128),
    "int16": (np.rint(SINE * 2**15).astype(np.int16), 1 / 2**15),
    "int32": (np.rint(SINE.astype(np.float64) * 2**31).astype(np.int32), 1e-7),
    "float32": (SINE, 0),
    "float64": (SINE.astype(np.float64), 0),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_sample_format_becomes_float_with_full_scale_one(kind: str, tmp_path: Path) -> None:
    samples, tolerance = FORMATS[kind]
    read = read_audio(make_wav(tmp_path / "x.wav", samples, 8000))
    assert read.samples.dtype == np.float32
    assert read.sample_rate == 8000
    np.testing.assert_allclose(read.samples, SINE, rtol=0, atol=tolerance)


def test_24_bits(tmp_path: Path) -> None:
    values = np.array([-(2**23), -1, 0, 1, 2**22, 2**23 - 1], dtype="<i4")
    with wave_module.open(str(tmp_path / "x.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(3)
        file.setframerate(48000)
        file.writeframes(values.view(np.uint8).reshape(-1, 4)[:, :3].tobytes())
    np.testing.assert_array_equal(
        read_audio(tmp_path / "x.wav").samples[0], (values / 2**23).astype(np.float32)
    )


@pytest.mark.parametrize(("rate", "channels"), [(8000, 8), (192000, 1), (44100, 2), (22050, 6)])
def test_rates_and_channels_stay_as_they_are(rate: int, channels: int, tmp_path: Path) -> None:
    samples = tone(0.3, rate, channels)
    window = sound_of(make_wav(tmp_path / "x.wav", samples, rate))
    assert window.audio.sample_rate == rate
    np.testing.assert_array_equal(window.audio.samples, samples)
    assert len(window.waveform(16000)) == 4800


def test_one_sample_is_a_sound(tmp_path: Path) -> None:
    window = sound_of(make_wav(tmp_path / "x.wav", np.array([[0.25]], dtype=np.float32), 16000))
    assert window.audio.samples.tolist() == [[0.25]]
    assert window.file_seconds == 1 / 16000
    assert window.waveform(16000).tolist() == [0.0]
    assert window.waveform(16000, remove_mean=False).tolist() == [0.25]


@pytest.mark.parametrize("target", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("seconds", [1.0, 1.4999, 2.99, 5.0])
def test_window_equals_the_whole_file_processed_and_then_cut(
    target: int, seconds: float, tmp_path: Path
) -> None:
    stereo = np.stack([wave(3, 22050, 1), wave(3, 22050, 2) + np.float32(0.2)])
    window = sound_of(make_wav(tmp_path / "x.wav", stereo, 22050), seconds)
    mono = stereo.astype(np.float64).mean(axis=0)
    whole = resample((mono - mono.mean()).astype(np.float32), 22050, target)
    np.testing.assert_allclose(window.waveform(target), whole[: int(target * seconds)], rtol=0, atol=2e-6)
    assert window.file_mean == pytest.approx(mono.mean(), abs=1e-9)
    assert window.file_seconds == 3.0


def test_window_keeps_the_first_seconds_and_caches(tmp_path: Path) -> None:
    samples = tone(1.0, 16000)
    window = sound_of(make_wav(tmp_path / "x.wav", samples, 16000), 0.4)
    np.testing.assert_array_equal(window.audio.samples, samples[:, :6400])
    assert window.waveform(48000) is window.waveform(48000)
    assert window.waveform(48000) is not window.waveform(48000, remove_mean=False)


def test_window_of_memory_equals_window_of_the_file(tmp_path: Path) -> None:
    samples = np.stack([wave(2, 44100, 1), wave(2, 44100, 2)])
    read = sound_of(make_wav(tmp_path / "x.wav", samples, 44100), 1.5)
    made = AudioWindow.of(Audio(samples, 44100), 1.5)
    np.testing.assert_array_equal(read.waveform(16000), made.waveform(16000))
    assert read.file_mean == pytest.approx(made.file_mean)
    assert read.file_seconds == made.file_seconds


def test_sound_of_a_video(tmp_path: Path) -> None:
    samples = tone(2.0, 44100, channels=2)
    path = make_video(tmp_path / "x.mp4", 2.0, sound=samples, sound_rate=44100)
    read = read_audio(path)
    assert read.sample_rate == 44100
    assert abs(read.samples.shape[1] - samples.shape[1]) < 2048
    middle = slice(20000, 60000)
    np.testing.assert_allclose(read.samples[:, middle], samples[:, middle], atol=0.05)


def test_no_sound_wanted_none_given(tmp_path: Path) -> None:
    path = make_wav(tmp_path / "x.wav", tone(0.1, 8000), 8000)
    assert read_media(path, seconds=1.0, sound=False).sound is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("second", [0.5, 2.5])
def test_samples_that_are_no_numbers(bad: float, second: float, tmp_path: Path) -> None:
    samples = tone(3.0, 8000, channels=2)
    samples[1, int(second * 8000)] = bad
    sound = read_media(make_wav(tmp_path / "x.wav", samples, 8000), seconds=1.0).sound
    assert isinstance(sound, ClipFault)
    assert sound.code == "not-finite"


def test_infinities_of_both_signs(tmp_path: Path) -> None:
    samples: NDArray[np.float64] = tone(1.0, 8000).astype(np.float64)
    samples[0, [100, 200]] = np.inf, -np.inf
    samples[0, 300] = 1e300
    sound = read_media(make_wav(tmp_path / "x.wav", samples, 8000), seconds=1.0).sound
    assert isinstance(sound, ClipFault)
    assert sound.code == "not-finite"
