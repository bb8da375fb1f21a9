import errno
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from media_files import cut, make_video, make_wav, numbered, numbers, tone

from v2abench.errors import ClipFault
from v2abench.media.audio import Audio
from v2abench.media.probing import probe
from v2abench.media.reading import AudioWindow, FrameStream, Media, read_audio, read_media
from v2abench.media.writing import write_audio

FRAMES = FrameStream(Fraction(25))
FASTSTART = {"movflags": "faststart"}


def read(path: Path, seconds: float = 8.0) -> Media:
    return read_media(path, seconds=seconds, frames=[FRAMES])


def code(result: object) -> str:
    assert isinstance(result, ClipFault), result
    assert pickle.loads(pickle.dumps(result)).detail == result.detail
    return result.code


def empty(folder: Path) -> Path:
    (folder / "x.mp4").touch()
    return folder / "x.mp4"


def text(folder: Path) -> Path:
    (folder / "x.mp4").write_text("this is not a video\n" * 100)
    return folder / "x.mp4"


def noise(folder: Path) -> Path:
    (folder / "x.mp4").write_bytes(np.random.default_rng(0).bytes(20000))
    return folder / "x.mp4"


def without_moov(folder: Path) -> Path:
    return cut(make_video(folder / "x.mp4"), 0.6)


@pytest.mark.parametrize("make", [empty, text, noise, without_moov])
@pytest.mark.parametrize("function", [read, read_audio, probe])
def test_what_does_not_open(
    make: Callable[[Path], Path], function: Callable[[Path], object], tmp_path: Path
) -> None:
    path = make(tmp_path)
    with pytest.raises(ClipFault, match=path.name) as caught:
        function(path)
    assert caught.value.code == "unreadable"


@pytest.mark.parametrize("function", [read, read_audio, probe])
def test_what_is_not_there(function: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(ClipFault, match=r"nothing\.mp4") as caught:
        function(tmp_path / "nothing.mp4")
    assert caught.value.code == "missing"


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.EACCES])
def test_what_the_moment_forbids_is_not_a_property_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    path = make_video(tmp_path / "x.mp4")
    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(ClipFault, match="unreachable") as caught:
        read(path)
    assert os.strerror(number) in caught.value.detail


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ClipFault, match="unreachable"):
        read(tmp_path)


def test_a_stream_that_is_absent(tmp_path: Path) -> None:
    silent = read(make_video(tmp_path / "x.mp4", 0.4))
    assert code(silent.sound) == "no-audio"
    assert isinstance(silent.frames[FRAMES], np.ndarray)
    dark = read(make_wav(tmp_path / "x.wav", tone(0.4, 8000), 8000))
    assert code(dark.frames[FRAMES]) == "no-video"
    assert isinstance(dark.sound, AudioWindow)
    assert dark.video_seconds is None
    with pytest.raises(ClipFault, match="no-audio"):
        read_audio(tmp_path / "x.mp4")


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    with av.open(str(path), "w") as container:
        sound: Any = container.add_stream("libmp3lame", 16000)
        cover: Any = container.add_stream("png", 1)
        cover.width, cover.height, cover.pix_fmt = 80, 48, "rgb24"
        cover.disposition = Disposition.attached_pic.value
        samples = av.AudioFrame.from_ndarray(tone(1.0, 16000, 2), "fltp", "stereo")
        samples.sample_rate = 16000
        picture = av.VideoFrame.from_ndarray(numbered(1), format="rgb24")
        container.mux([*cover.encode(picture), *cover.encode(None)])
        container.mux([*sound.encode(samples), *sound.encode(None)])
    assert code(read(path).frames[FRAMES]) == "no-video"
    assert probe(path).width is None


@pytest.mark.parametrize("name", ["x.mp4", "x.mkv"])
def test_cut_video(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = FASTSTART if name == "x.mp4" else {}
    path = make_video(tmp_path / name, 6.0, sound=tone(6.0, 16000), options=options)
    broken = cut(path, 0.5)
    media = read(broken, 6.0)
    assert code(media.sound) == code(media.frames[FRAMES]) == "truncated"
    for fault in (media.sound, media.frames[FRAMES]):
        assert "of the promised 6.0" in str(fault)
    assert capfd.readouterr() == ("", "")
    unharmed = read(broken, 1.0)
    frames = unharmed.frames[FRAMES]
    assert isinstance(frames, np.ndarray)
    assert numbers(frames) == list(range(25))
    assert isinstance(unharmed.sound, AudioWindow)
    assert len(unharmed.sound.waveform(16000)) == 16000


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_cut_sound(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    write_audio(path, Audio(np.random.default_rng(0).uniform(-1, 1, (2, 48000)).astype(np.float32), 16000))
    assert isinstance(read(path).sound, AudioWindow)
    broken = cut(path, 0.5)
    assert code(read(broken).sound) == "truncated"
    assert isinstance(read(broken, 1.0).sound, AudioWindow)
    with pytest.raises(ClipFault, match="truncated"):
        read_audio(broken)


def test_wav_of_a_pipe_promises_nothing(tmp_path: Path) -> None:
    path = make_wav(tmp_path / "x.wav", tone(1.0, 8000), 8000)
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff" * 4
    path.write_bytes(content)
    assert read_audio(path).seconds == 1.0


def test_no_samples(tmp_path: Path) -> None:
    path = make_wav(tmp_path / "x.wav", np.zeros((1, 0), dtype=np.int16), 8000)
    assert code(read(path).sound) == "too-short"


def test_too_short_for_one_frame(tmp_path: Path) -> None:
    path = make_video(tmp_path / "x.mp4", 0.4)
    slow = FrameStream(Fraction(1, 2))
    assert code(read_media(path, seconds=8.0, frames=[slow]).frames[slow]) == "too-short"


def test_sound_that_changes_its_format(tmp_path: Path) -> None:
    parts = []
    for rate, channels in ((16000, 1), (44100, 2)):
        path = tmp_path / f"{rate}.aac"
        with av.open(str(path), "w", format="adts") as container:
            stream: Any = container.add_stream("aac", rate)
            stream.layout = {1: "mono", 2: "stereo"}[channels]
            frame = av.AudioFrame.from_ndarray(tone(2.0, rate, channels), "fltp", stream.layout.name)
            frame.sample_rate = rate
            container.mux([*stream.encode(frame), *stream.encode(None)])
        parts.append(path.read_bytes())
    (tmp_path / "x.aac").write_bytes(b"".join(parts))
    sound = read(tmp_path / "x.aac").sound
    assert code(sound) == "unreadable"
    assert "changes" in str(sound)


def test_nothing_that_decodes(tmp_path: Path) -> None:
    path = make_video(tmp_path / "x.mp4", 1.0, sound=tone(1.0, 16000), options=FASTSTART)
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 4
    content[start:] = b"\xff" * (len(content) - start)
    path.write_bytes(content)
    media = read(path)
    assert code(media.frames[FRAMES]) == "unreadable"
    assert code(media.sound) == "unreadable"


def test_a_codec_that_nobody_knows(tmp_path: Path) -> None:
    path = make_video(tmp_path / "x.mkv", 1.0, sound=tone(1.0, 16000))
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_XYZ").replace(b"V_MPEG4", b"V_XPEG4"))
    media = read(path)
    assert code(media.sound) == code(media.frames[FRAMES]) == "unreadable"
    assert "no decoder" in str(media.sound)
    info = probe(path)
    assert (info.audio_codec, info.video_codec, info.video_seconds) == (None, None, 1.0)


class Watched:
    """A container that counts the packets read of it and fails after some, as a failing disk does."""

    def __init__(self, container: Any, packets: int) -> None:
        self._container = container
        self._packets = packets
        self.read = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def __enter__(self) -> "Watched":
        return self

    def __exit__(self, *exception: object) -> None:
        self._container.close()

    def demux(self, *streams: Any) -> Iterator[Any]:
        for packet in self._container.demux(*streams):
            if self.read == self._packets:
                raise av.InvalidDataError(5, "input/output error", "x")
            self.read += 1
            yield packet


def test_reading_that_breaks_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "x.ts", 4.0, sound=tone(4.0, 16000))
    real = av.open
    monkeypatch.setattr(av, "open", lambda *args, **kwargs: Watched(real(*args, **kwargs), 80))
    late = read(path, 4.0)
    assert code(late.sound) == code(late.frames[FRAMES]) == "truncated"
    assert "input/output error" in str(late.sound)
    assert isinstance(read(path, 1.0).frames[FRAMES], np.ndarray)


def test_reading_stops_behind_the_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "x.mp4", 8.0, sound=tone(8.0, 16000))
    container = Watched(av.open(str(path)), sys.maxsize)
    monkeypatch.setattr(av, "open", lambda *args, **kwargs: container)
    read_media(path, seconds=1.0, sound=False, frames=[FRAMES, FrameStream(None)])
    assert 25 <= container.read < 35


def test_tags_that_are_not_unicode(tmp_path: Path) -> None:
    path = make_wav(tmp_path / "x.wav", tone(0.1, 8000).astype(np.float32), 8000)
    content = path.read_bytes()
    tag = b"LIST" + (16).to_bytes(4, "little") + b"INFOINAM" + (4).to_bytes(4, "little") + b"caf\xe9"
    path.write_bytes(content[:12] + tag + content[12:])
    assert read_audio(path).samples.shape == (1, 800)


@pytest.mark.parametrize(
    "name", ["déjà vu.wav", "a + b.wav", "-y.wav", "50%d.wav", "http:x.wav", "#?&.wav", "音.wav"]
)
def test_names(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = tone(0.1, 8000)
    monkeypatch.chdir(tmp_path)
    write_audio(Path(name), Audio(samples, 8000), bits=32)
    np.testing.assert_array_equal(read_audio(Path(name)).samples, samples)
    assert probe(tmp_path / name).sound_seconds == 0.1


MEMORY = """
import resource, sys
from fractions import Fraction
from pathlib import Path
from v2abench.media.reading import FrameStream, read_media
stream = FrameStream(Fraction(4), "gray", 96)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
short, long = map(Path, sys.argv[1:])
read_media(short, seconds=8.0, frames=[stream])
before = peak()
media = read_media(long, seconds=8.0, frames=[stream])
assert media.frames[stream].shape == (32, 96, 171), media.frames
assert media.sound.file_seconds > 199
print(peak() - before)
"""


def test_a_long_file_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    sound = np.zeros((2, 200 * 48000), dtype=np.float32)
    beginning = sound[:, : 10 * 48000]
    short = make_video(tmp_path / "s.mp4", 10.0, 4, (640, 360), sound=beginning, sound_rate=48000)
    long = make_video(tmp_path / "l.mp4", 200.0, 4, (640, 360), sound=sound, sound_rate=48000)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(short), str(long)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    whole_sound = 200 * 48000 * 2 * 4
    assert int(done.stdout) < whole_sound / 3
