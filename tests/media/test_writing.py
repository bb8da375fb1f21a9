import errno
import os
import subprocess
import sys
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from deterministic import frames, wave
from media_files import make_video, make_wav, numbered, numbers, tone
from numpy.typing import NDArray

from v2abench.errors import ClipFault, V2ABenchError
from v2abench.media.audio import Audio
from v2abench.media.probing import probe
from v2abench.media.reading import FrameStream, read_audio, read_media
from v2abench.media.writing import mux, write_audio, write_video

EVERY = FrameStream(None)
SOUND = Audio(np.stack([wave(2, 44100, 1), wave(2, 44100, 2)]), 44100)
PICTURES = np.stack([numbered(index) for index in range(50)])


def packets(path: Path) -> list[tuple[Any, ...]]:
    """The video packets of a file with their times in seconds."""
    with av.open(str(path)) as container:
        return [
            (bytes(p), (p.pts or 0) * p.time_base, (p.dts or 0) * p.time_base, p.is_keyframe)
            for p in container.demux(video=0)
            if p.size
        ]


def pictures_of(path: Path) -> NDArray[np.uint8]:
    pictures = read_media(path, seconds=8.0, sound=False, frames=[EVERY]).frames[EVERY]
    assert isinstance(pictures, np.ndarray), pictures
    return pictures


@pytest.mark.parametrize(
    ("name", "bits", "tolerance"), [("x.wav", 16, 1 / 32768), ("x.WAV", 32, 0), ("x.flac", 16, 1 / 32768)]
)
@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2), (44101, 1), (192000, 2)])
def test_sound_comes_back(
    name: str, bits: Any, tolerance: float, rate: int, channels: int, tmp_path: Path
) -> None:
    samples = np.random.default_rng(1).uniform(-1, 1, (channels, 5003)).astype(np.float32)
    samples[:, :3] = -1, 1, 0
    write_audio(tmp_path / name, Audio(samples, rate), bits=bits)
    read = read_audio(tmp_path / name)
    assert read.sample_rate == rate
    np.testing.assert_allclose(read.samples, samples, rtol=0, atol=tolerance)


def test_sixteen_bits_are_exact(tmp_path: Path) -> None:
    """What was read from 16 bits is written to the same 16 bits, whatever the container."""
    values = np.arange(-32768, 32768, dtype=np.int16)[None]
    samples = read_audio(make_wav(tmp_path / "x.wav", values, 16000)).samples
    for name in ("y.wav", "y.flac"):
        write_audio(tmp_path / name, Audio(samples, 16000))
        np.testing.assert_array_equal(read_audio(tmp_path / name).samples, samples)


@pytest.mark.parametrize(("name", "bits"), [("x.wav", 16), ("x.wav", 32), ("x.flac", 16)])
def test_too_loud_is_clipped(name: str, bits: Any, tmp_path: Path) -> None:
    write_audio(tmp_path / name, Audio(np.array([[3.0, -3.0, 0.5]], dtype=np.float32), 8000), bits=bits)
    np.testing.assert_allclose(read_audio(tmp_path / name).samples, [[1.0, -1.0, 0.5]], atol=1 / 32768)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [([[0.0, np.nan]], "not-finite"), ([[np.inf]], "not-finite"), ([[]], "too-short")],
)
@pytest.mark.parametrize("name", ["x.wav", "x.flac", "x.mp4"])
def test_sound_that_cannot_be_written(
    samples: list[list[float]], expected: str, name: str, tmp_path: Path
) -> None:
    audio = Audio(np.array(samples, dtype=np.float32), 8000)
    write = partial(write_video, frames=PICTURES, frame_rate=Fraction(25)) if name == "x.mp4" else write_audio
    with pytest.raises(ClipFault) as caught:
        write(tmp_path / name, audio=audio)
    assert caught.value.code == expected
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "bits", "channels", "message"),
    [
        ("x.mp3", 16, 1, r"x\.mp3 at 16 bits; possible are \.wav at 16"),
        ("x.flac", 32, 1, r"x\.flac at 32 bits"),
        ("x.wav", 16, 3, "3 channels: mix"),
    ],
)
def test_formats_that_are_not_written(
    name: str, bits: Any, channels: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(V2ABenchError, match=message):
        write_audio(tmp_path / name, Audio(tone(0.1, 8000, channels), 8000), bits=bits)
    assert list(tmp_path.iterdir()) == []


def test_video_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    write_video(path, PICTURES, Fraction(30000, 1001), SOUND)
    info = probe(path)
    assert (info.frame_rate, info.width, info.height) == (Fraction(30000, 1001), 80, 48)
    assert (info.video_codec, info.audio_codec, info.sample_rate, info.channels) == ("h264", "aac", 44100, 2)
    assert info.video_seconds == pytest.approx(50 * 1001 / 30000, abs=1e-3)
    assert numbers(pictures_of(path)) == list(range(50))
    read = read_audio(path).samples
    error = read[:, : SOUND.samples.shape[1]] - SOUND.samples
    assert np.sqrt(np.mean(error**2)) < 0.1 * np.sqrt(np.mean(SOUND.samples**2))


def test_colours_come_back(tmp_path: Path) -> None:
    colours = [(250, 30, 40), (20, 200, 60), (40, 50, 240), (128, 128, 128), (255, 255, 255), (0, 0, 0)]
    pictures = np.repeat(np.array(colours, dtype=np.uint8), 16, axis=0).reshape(1, 6 * 16, 1, 3)
    pictures = np.broadcast_to(pictures, (5, 96, 64, 3))
    write_video(tmp_path / "x.mp4", pictures, Fraction(25))
    read = pictures_of(tmp_path / "x.mp4")
    middles = np.arange(6) * 16 + 8
    np.testing.assert_allclose(read[:, middles, 32], np.broadcast_to(colours, (5, 6, 3)), atol=6)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((5, 48, 81, 3), np.uint8, "81x48 is not even"),
        ((5, 47, 80, 3), np.uint8, "80x47 is not even"),
        ((5, 48, 80), np.uint8, r"\(T, H, W, 3\) uint8, not \(5, 48, 80\)"),
        ((5, 48, 80, 3), np.float32, "float32"),
        ((0, 48, 80, 3), np.uint8, r"not \(0, 48"),
    ],
)
def test_frames_that_are_not_written(
    shape: tuple[int, ...], dtype: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(V2ABenchError, match=message):
        write_video(tmp_path / "x.mp4", np.zeros(shape, dtype=dtype), Fraction(25))


@pytest.mark.parametrize("name", ["x.mov", "x"])
def test_video_goes_to_mp4_only(name: str, tmp_path: Path) -> None:
    with pytest.raises(V2ABenchError, match=r"must end in \.mp4"):
        write_video(tmp_path / name, PICTURES, Fraction(25))


WRITE_ALL = """
import sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from v2abench.media.audio import Audio
from v2abench.media.writing import mux, write_audio, write_video
source, folder = map(Path, sys.argv[1:])
audio = Audio(np.load(source / "sound.npy"), 44100)
write_video(folder / "a.mp4", np.load(source / "pictures.npy"), Fraction(25), audio)
mux(folder / "a.mp4", audio, folder / "b.mp4")
write_audio(folder / "c.wav", audio)
write_audio(folder / "d.flac", audio)
"""


def test_bytes_depend_on_nothing_but_the_input(tmp_path: Path) -> None:
    """Nor on memory that nobody wrote, which glibc fills here with what it is told."""
    np.save(tmp_path / "pictures.npy", frames(75, 64).transpose(0, 2, 3, 1))
    np.save(tmp_path / "sound.npy", SOUND.samples)
    written = []
    for fill in ("85", "255"):
        folder = tmp_path / fill
        folder.mkdir()
        command = [sys.executable, "-c", WRITE_ALL, str(tmp_path), str(folder)]
        environment = {**os.environ, "MALLOC_PERTURB_": fill}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        written.append([path.read_bytes() for path in sorted(folder.iterdir())])
    assert written[0] == written[1]
    assert not any(b"Lav" in content for content in written[0])


def test_mux_keeps_the_pictures(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", 2.0, 30, sound=tone(2.0, 16000))
    mux(video, SOUND, tmp_path / "out.mp4")
    assert packets(tmp_path / "out.mp4") == packets(video)
    info = probe(tmp_path / "out.mp4")
    assert (info.sample_rate, info.channels) == (44100, 2)
    assert info.sound_seconds == pytest.approx(2.0, abs=1e-3)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]


def test_mux_takes_a_file_and_any_rate(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mkv", 2.0)
    sound = make_wav(tmp_path / "s.wav", tone(1.5, 44101), 44101)
    mux(video, sound, tmp_path / "out.mp4")
    info = probe(tmp_path / "out.mp4")
    assert (info.sample_rate, info.channels) == (48000, 1)
    assert info.sound_seconds == pytest.approx(1.5, abs=1e-3)
    assert numbers(pictures_of(tmp_path / "out.mp4")) == list(range(50))
    middle = slice(24000, 48000)
    read = read_audio(tmp_path / "out.mp4").samples[0, middle]
    np.testing.assert_allclose(read, tone(1.5, 48000)[0, middle], atol=0.05)


def test_mux_may_replace_its_input(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", 1.0)
    before = packets(video)
    mux(video, SOUND, video)
    assert packets(video) == before
    assert probe(video).sample_rate == 44100


@pytest.mark.parametrize("broken", ["no pictures", "no sound", "no file"])
def test_mux_of_what_is_not_there(broken: str, tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", 0.4)
    sound = make_wav(tmp_path / "s.wav", tone(0.4, 8000), 8000)
    pair = {
        "no pictures": (sound, sound),
        "no sound": (video, video),
        "no file": (tmp_path / "gone.mp4", sound),
    }[broken]
    with pytest.raises(ClipFault) as caught:
        mux(*pair, tmp_path / "out.mp4")
    assert (
        caught.value.code == {"no pictures": "no-video", "no sound": "no-audio", "no file": "missing"}[broken]
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.wav", "v.mp4"]


def test_mux_of_a_codec_that_mp4_does_not_hold(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.webm", 0.4, codec="libvpx")
    with pytest.raises(V2ABenchError, match=r"out\.mp4.*vp8.*convert.*v\.webm"):
        mux(video, SOUND, tmp_path / "out.mp4")


def test_missing_encoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    with pytest.raises(V2ABenchError, match="no encoder libx264"):
        write_video(tmp_path / "x.mp4", PICTURES, Fraction(25))


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(V2ABenchError, match=r"cannot write .*x\.wav: .*; choose another place"):
        write_audio(tmp_path / "file" / "x.wav", SOUND)


@pytest.mark.parametrize("failing", ["write_bytes", "replace"])
def test_a_failed_write_leaves_all_as_it_was(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_wav(tmp_path / "x.wav", tone(0.1, 8000), 8000)
    before = path.read_bytes()
    real = Path.write_bytes

    def full(self: Path, content: bytes) -> int:
        real(self, content[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    def refused(self: Path, target: Path) -> Path:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, failing, full if failing == "write_bytes" else refused)
    with pytest.raises(V2ABenchError, match=r"x\.wav: (No space|Permission)"):
        write_audio(path, SOUND)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
