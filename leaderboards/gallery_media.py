"""The files of a gallery: videos with a model's sound, spectrograms, still pictures.

Their names are hashes of what is in them, so that a page gives no model away, a file is
made once, and the same runs give the same site.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from v2abench.errors import ClipFault
from v2abench.files import atomic, content_hash
from v2abench.media.audio import Audio
from v2abench.media.probing import probe
from v2abench.media.reading import AudioWindow, FrameStream, read_media
from v2abench.media.resampling import resample
from v2abench.media.writing import mux, write_video
from v2abench.runs.inputs import FileRecord

VERSION = "1"
"""Goes up when the same input gives another file."""

BROWSER_CODECS = {"h264", "vp9", "av1"}
"""What browsers play in an MP4; other videos are encoded anew as H.264, their shorter side 360 pixels."""

PICTURE = FrameStream(frame_rate=Fraction(10), short_side=270)
FRAME_RATE = Fraction(25)
ENCODED = FrameStream(frame_rate=FRAME_RATE, short_side=360)

SAMPLE_RATE, FRAME, TRANSFORM = 16000, 512, 2048
LOWEST_HZ, HIGHEST_HZ = 60.0, 8000.0
COLUMNS, ROWS = 360, 96
RANGE_DB = 75.0
"""From the brightest colour (a full-scale sine) to black."""


@dataclass(frozen=True)
class Maker:
    """Makes files in `folder`, unless they are there already, and returns their names.

    A run's record may come from somebody else and name any file: only one whose content is
    what was evaluated is shown.
    """

    folder: Path

    def video(self, video: FileRecord, sound: FileRecord, seconds: float) -> str:
        """Return the video with the first `seconds` of that sound; raises `ClipFault` or `V2ABenchError`."""
        return self._make(
            f"{_name('video', video.hash, sound.hash, seconds)}.mp4",
            (video, sound),
            lambda path: _lay(Path(video.path), _sound(Path(sound.path), seconds), path),
        )

    def spectrogram(self, sound: FileRecord, seconds: float) -> str:
        """Return the picture of the first `seconds` of a sound; raises `ClipFault`."""
        return self._make(
            f"{_name('spectrogram', sound.hash, seconds)}.png",
            (sound,),
            lambda path: _write_picture(path, draw_spectrogram(_sound(Path(sound.path), seconds), seconds)),
        )

    def still(self, video: FileRecord) -> str:
        """Return a picture from the video's first second; raises `ClipFault`."""
        return self._make(
            f"{_name('still', video.hash)}.jpg",
            (video,),
            lambda path: _write_picture(path, _still(Path(video.path))),
        )

    def _make(self, name: str, sources: Sequence[FileRecord], write: Callable[[Path], None]) -> str:
        path = self.folder / name
        if not path.is_file():
            for source in sources:
                _require_unchanged(source)
            write(path)
        return name


def _require_unchanged(record: FileRecord) -> None:
    path = Path(record.path)
    try:
        now = content_hash(path)
    except OSError as error:
        raise ClipFault("missing", f"{path.name}: {error.strerror or error}") from error
    if now != record.hash:
        raise ClipFault("changed", f"{path.name} is not the file that was evaluated")


def draw_spectrogram(audio: Audio, seconds: float) -> NDArray[np.uint8]:
    """Return (96, 360, 3) uint8 BGR: 60 Hz (bottom) to 8 kHz on a logarithmic axis, over `seconds`.

    Brightness is level, the same for all sounds: a full-scale sine is the brightest, what
    is 75 dB below is black. A sound that ends early leaves the rest black.
    """
    mono = resample(audio.samples.mean(axis=0, dtype=np.float32), audio.sample_rate, SAMPLE_RATE)
    wanted = round(seconds * SAMPLE_RATE)
    samples = np.zeros(wanted + FRAME)
    kept = min(len(mono), wanted)
    samples[FRAME // 2 : FRAME // 2 + kept] = mono[:kept]
    starts = np.linspace(0, wanted - 1, COLUMNS).astype(int)
    window = np.hanning(FRAME)
    frames = samples[starts[:, None] + np.arange(FRAME)] * window
    amplitudes = np.abs(np.fft.rfft(frames, TRANSFORM, axis=1)) * 2 / window.sum()
    edges = np.geomspace(LOWEST_HZ, HIGHEST_HZ, ROWS + 1) * TRANSFORM / SAMPLE_RATE
    rows = np.maximum.reduceat(amplitudes, np.floor(edges[:-1]).astype(int), axis=1)
    shade = np.clip(1 + 20 * np.log10(np.maximum(rows, 1e-9)) / RANGE_DB, 0, 1)
    grey = np.ascontiguousarray(np.rint(255 * shade).astype(np.uint8).T[::-1])
    return np.asarray(cv2.applyColorMap(grey, cv2.COLORMAP_MAGMA), dtype=np.uint8)


def _sound(path: Path, seconds: float) -> Audio:
    window = read_media(path, seconds=seconds).sound
    if not isinstance(window, AudioWindow):
        raise window or ClipFault("no-audio", f"{path.name} has no sound")
    audio = window.audio
    if audio.samples.shape[0] <= 2:
        return audio
    return Audio(audio.samples.mean(axis=0, keepdims=True), audio.sample_rate)


def _lay(video: Path, sound: Audio, output: Path) -> None:
    if probe(video).video_codec in BROWSER_CODECS:
        mux(video, sound, output)
        return
    frames = _frames(video, ENCODED, sound.seconds)
    height, width = frames.shape[1] // 2 * 2, frames.shape[2] // 2 * 2
    with TemporaryDirectory() as folder:
        encoded = Path(folder) / "video.mp4"
        write_video(encoded, frames[:, :height, :width], FRAME_RATE)
        mux(encoded, sound, output)


def _still(video: Path) -> NDArray[np.uint8]:
    frames = _frames(video, PICTURE, 1.0)
    return np.ascontiguousarray(frames[len(frames) // 2][..., ::-1])


def _frames(video: Path, stream: FrameStream, seconds: float) -> NDArray[np.uint8]:
    frames = read_media(video, seconds=seconds, sound=False, frames=[stream]).frames[stream]
    if isinstance(frames, ClipFault):
        raise frames
    return frames


def _write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    options = {".jpg": [cv2.IMWRITE_JPEG_QUALITY, 82], ".png": [cv2.IMWRITE_PNG_COMPRESSION, 9]}
    _, data = cv2.imencode(path.suffix, picture, options[path.suffix])
    with atomic(path) as temporary:
        temporary.write_bytes(data.tobytes())


def _name(*parts: object) -> str:
    return hashlib.sha256("|".join([VERSION, *map(str, parts)]).encode()).hexdigest()[:16]
