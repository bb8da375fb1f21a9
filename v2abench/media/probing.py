"""What a media file says of itself, without decoding it."""

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition

from v2abench.errors import ClipFault

_LOCAL_FILES_ONLY = {"protocol_whitelist": "file"}

_PYAV = int(av.__version__.partition(".")[0])
_ANY_TAGS: dict[str, Any] = {"metadata_errors": "replace"} if _PYAV < 19 else {}
"""Tags that are not UTF-8 keep no file back; from PyAV 19 on they do not anyway."""

_MATROSKA_DURATION = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
_UNKNOWN_LENGTH = 0x7FFF0000
"""RIFF chunk sizes from here on are what writers to a pipe leave behind."""


@dataclass(frozen=True)
class MediaInfo:
    """The best audio and the best video stream of a file, as its header describes them.

    Seconds; sample rate in Hz; average frame rate in frames per second; width and
    height in pixels. None: the stream is absent, the file does not say, or FFmpeg has
    no decoder for it.
    """

    sound_seconds: float | None = None
    sample_rate: int | None = None
    channels: int | None = None
    audio_codec: str | None = None
    video_seconds: float | None = None
    frame_rate: Fraction | None = None
    width: int | None = None
    height: int | None = None
    video_codec: str | None = None


def probe(path: Path) -> MediaInfo:
    """Describe the file at `path`; raises `ClipFault` (`missing`, `unreadable`)."""
    with open_media(path) as container:
        audio, video = best_audio(container), best_video(container)
        hearing = audio.codec_context if audio else None
        seeing = video.codec_context if video else None
        return MediaInfo(
            sound_seconds=announced_seconds(path, container, audio) if audio else None,
            sample_rate=hearing.sample_rate if hearing else None,
            channels=hearing.layout.nb_channels if hearing else None,
            audio_codec=hearing.name if hearing else None,
            video_seconds=announced_seconds(path, container, video) if video else None,
            frame_rate=_average_rate(video) if video else None,
            width=seeing.width if seeing else None,
            height=seeing.height if seeing else None,
            video_codec=seeing.name if seeing else None,
        )


@contextmanager
def open_media(path: Path) -> Iterator[InputContainer]:
    """Open a media file for reading; raises `ClipFault`.

    `missing` and `unreachable` (permission, too many open files, a network share that
    went) speak of the moment, `unreadable` of what is in the file.
    Only local files are opened, whatever a playlist in disguise may refer to.
    """
    try:
        if path.stat().st_size == 0:
            raise ClipFault("unreadable", f"{path} is empty (0 bytes)")
        container = av.open(f"file:{path}", options=_LOCAL_FILES_ONLY, **_ANY_TAGS)
    except FileNotFoundError:
        raise ClipFault("missing", f"{path} does not exist") from None
    except OSError as error:
        raise ClipFault("unreachable", f"{path}: {error.strerror}") from error
    except av.FFmpegError as error:
        raise ClipFault("unreadable", f"{path} does not open as media: {error.strerror}") from error
    with container:
        yield container


def best_audio(container: InputContainer) -> av.AudioStream | None:
    """The audio stream that FFmpeg would choose, or None."""
    stream = container.streams.best("audio")
    return stream if isinstance(stream, av.AudioStream) else None


def best_video(container: InputContainer) -> av.VideoStream | None:
    """As `best_audio`; the cover art of a music file is not a video."""
    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream) or stream.disposition & Disposition.attached_pic:
        return None
    return stream


def promised_seconds(
    path: Path, container: InputContainer, stream: av.AudioStream | av.VideoStream
) -> float | None:
    """How long the header says that `stream` is, whatever the file holds.

    None where there is no such word to rely on: where FFmpeg estimates the length
    from the size of the file or from its end (MP3, ADTS, AVI, Ogg, MPEG-TS).
    """
    match container.format.name:
        case "wav":
            return _riff_seconds(path)
        case "matroska,webm":
            found = _MATROSKA_DURATION.match(stream.metadata.get("DURATION", ""))
            return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]) if found else None
        case "flac" | "mov,mp4,m4a,3gp,3g2,mj2" if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        case _:
            return None


def announced_seconds(
    path: Path, container: InputContainer, stream: av.AudioStream | av.VideoStream
) -> float | None:
    """The length of `stream` by its header or, failing that, by FFmpeg's estimate."""
    promised = promised_seconds(path, container, stream)
    if promised is not None:
        return promised
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration is not None else None


def _average_rate(video: av.VideoStream) -> Fraction | None:
    rate = video.average_rate
    return Fraction(rate.numerator, rate.denominator) if rate else None


def _riff_seconds(path: Path) -> float | None:
    """The length in a WAV header; FFmpeg silently replaces it by what the file holds."""
    with path.open("rb") as file:
        if file.read(4) != b"RIFF":
            return None
        file.seek(12)
        bytes_per_second = 0
        while len(head := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", head)
            if name == b"data":
                known = bytes_per_second > 0 and 0 < size < _UNKNOWN_LENGTH
                return size / bytes_per_second if known else None
            body = file.read(16) if name == b"fmt " else b""
            if len(body) == 16:
                bytes_per_second = struct.unpack("<8xI4x", body)[0]
            file.seek(size + size % 2 - len(body), 1)
    return None
