"""Decoding: every file is opened once, whatever is wanted of it.

The conventions are those of av-benchmark (hkchengrex/av-benchmark@050a5cd):

- Sound is taken in the order of decoding, from the first decoded sample on; the time
  stamp of that sample (a late start) plays no part.
- Pictures are those that FFmpeg's `fps` filter gives (`round=near`): its grid is
  anchored at time 0, its output begins with the first decoded picture, and the
  window is the first int(rate * seconds) pictures of that output.
- Pictures are not rotated; RGB comes from FFmpeg's default conversion, with the
  colour matrix and range that the stream names.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, TypeAlias

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from v2abench.errors import ClipFault
from v2abench.media.audio import Audio
from v2abench.media.frame_grid import DueGrid, FrameGrid
from v2abench.media.probing import (
    announced_seconds,
    best_audio,
    best_video,
    open_media,
    promised_seconds,
)
from v2abench.media.resampling import resample

_MARGIN_SECONDS = 0.1
"""Sound kept behind the window: what the resampler's kernel reaches at 61 Hz."""

_TOLERANCE_SECONDS = 0.1
"""By how much a stream may fall short of its header: codecs pad, headers round, and
files cut out of longer ones begin with a packet or two that cannot be decoded."""

_DEFAULT_FRAME_RATE = Fraction(25)
"""What FFmpeg assumes of a raw video that states no rate."""

_FULL_SCALE = {"u8": 2**7, "s16": 2**15, "s32": 2**31, "flt": 1, "dbl": 1}


@dataclass(frozen=True)
class FrameStream:
    """Which frames of a video are wanted, and in what form.

    `frame_rate`, in frames per second, resamples as FFmpeg's `fps` filter does, or, with
    the choice `due`, as `DueGrid` says; None takes every source frame. `short_side`
    scales down (swscale's `area`) until the shorter side has so many pixels, the longer
    one rounded to the nearest pixel; a smaller picture keeps its size. `transform` gets
    each frame, (H, W, 3) or (H, W) uint8, as it is decoded, so that native frames are
    never all in memory. For the stream to be picklable and to equal its copy in another
    process, `transform` must be a module-level function or an instance of a frozen
    dataclass.
    """

    frame_rate: Fraction | None
    pixel_format: Literal["rgb24", "gray"] = "rgb24"
    short_side: int | None = None
    transform: Callable[[NDArray[np.uint8]], NDArray[Any]] | None = None
    choice: Literal["nearest", "due"] = "nearest"


@dataclass(frozen=True, eq=False)
class AudioWindow:
    """The sound of one file, cut to the protocol's window.

    `audio` holds the first `seconds` at the file's own rate with all channels, less
    where the file is shorter. `file_mean` is the mean over all samples and channels
    of the whole file, `file_seconds` the length of its sound. `margin`, (channels,
    samples), is the sound right behind the window, which only the resampler sees.
    """

    audio: Audio
    seconds: float
    file_mean: float
    file_seconds: float
    margin: NDArray[np.float32] = field(repr=False)
    _waveforms: dict[tuple[int, bool], NDArray[np.float32]] = field(
        default_factory=dict, init=False, repr=False
    )

    @classmethod
    def of(
        cls,
        audio: Audio,
        seconds: float,
        *,
        file_mean: float | None = None,
        file_seconds: float | None = None,
    ) -> AudioWindow:
        """Cut `audio`, at least one sample, to its window.

        `audio` is all the sound of a file, or so much of its beginning that nothing
        of window and margin is missing; then the mean and the seconds of the whole
        file are given too.
        """
        inside = _whole(audio.sample_rate * seconds)
        margin = math.ceil(audio.sample_rate * _MARGIN_SECONDS)
        return cls(
            audio=Audio(audio.samples[:, :inside], audio.sample_rate),
            seconds=seconds,
            file_mean=float(audio.samples.mean(dtype=np.float64)) if file_mean is None else file_mean,
            file_seconds=audio.seconds if file_seconds is None else file_seconds,
            margin=audio.samples[:, inside : inside + margin],
        )

    def waveform(self, sample_rate: int, *, remove_mean: bool = True) -> NDArray[np.float32]:
        """Return the window in mono at `sample_rate` Hz, (n,) float32.

        Mean over the channels, minus `file_mean`, resampled, cut to
        int(sample_rate * seconds): the same as if the whole file were processed and
        then cut. `remove_mean=False` leaves the offset in. The array is cached and
        shared; do not write to it.

        Source: av-benchmark@050a5cd, av_bench/data/audio_dataset.py:124-141, and
        :206-230 for the variant that leaves the offset in.
        """
        key = (sample_rate, remove_mean)
        if key not in self._waveforms:
            mono = np.concatenate([self.audio.samples, self.margin], axis=1).mean(axis=0)
            centred = mono - np.float32(self.file_mean) if remove_mean else mono
            resampled = resample(centred, self.audio.sample_rate, sample_rate)
            self._waveforms[key] = resampled[: _whole(sample_rate * self.seconds)]
        return self._waveforms[key]


@dataclass(frozen=True, eq=False)
class Media:
    """What was wanted of one file, or the fault that stands in its place.

    `sound` is None if it was not asked for. `frames` are (T, H, W, 3), or (T, H, W)
    for gray, uint8, unless a transform made something else of them; T is at most
    int(frame_rate * seconds), less where the video is shorter. `video_seconds` is how
    long the whole video is by its header, None if there is none.
    """

    sound: AudioWindow | ClipFault | None
    frames: Mapping[FrameStream, NDArray[Any] | ClipFault]
    video_seconds: float | None = None


def read_media(
    path: Path, *, seconds: float, sound: bool = True, frames: Sequence[FrameStream] = ()
) -> Media:
    """Decode the first `seconds` of a file in one pass, all streams together.

    Sound is decoded to the end of the file, for `file_mean`, but only the window is
    kept; frames are not decoded beyond the window. Raises `ClipFault` (`missing`,
    `unreadable`) when the file does not open. What ails one stream stands in its
    place: `no-audio`, `no-video`, `unreadable`, `not-finite` (anywhere in the file),
    `too-short` (not one sample or frame), or `truncated`: MP4, Matroska, WAV or FLAC
    promise more than could be decoded inside the window, or reading broke off there.
    """
    with open_media(path) as container:
        audio, video = best_audio(container), best_video(container)
        hearing = _SoundReader(path, container, audio, seconds) if sound and audio else None
        seeing = _FrameReader(path, container, video, seconds, frames) if frames and video else None
        _decode(container, [reader for reader in (hearing, seeing) if reader is not None])
        video_seconds = announced_seconds(path, container, video) if video else None
    silence = ClipFault("no-audio", f"{path} has no sound") if sound else None
    darkness = ClipFault("no-video", f"{path} has no video")
    return Media(
        sound=hearing.window() if hearing else silence,
        frames=seeing.pictures() if seeing else dict.fromkeys(frames, darkness),
        video_seconds=video_seconds,
    )


def read_audio(path: Path) -> Audio:
    """Decode all sound of a file, at its own rate with all channels.

    Raises `ClipFault` for everything that `read_media` reports of sound.
    """
    sound = read_media(path, seconds=math.inf).sound
    if not isinstance(sound, AudioWindow):
        raise sound or AssertionError("sound was asked for")
    return sound.audio


class _Diagnosis:
    """What goes wrong while one stream is decoded, and what that amounts to in the end."""

    def __init__(
        self, path: Path, container: InputContainer, stream: av.AudioStream | av.VideoStream
    ) -> None:
        self.fault: ClipFault | None = None
        self.name = f"{path} ({stream.type})"
        self._promised = promised_seconds(path, container, stream)
        self._complaint = ""
        self._broken_off = False
        if stream.codec_context is None:
            self.fault = ClipFault("unreadable", f"{self.name}: FFmpeg has no decoder for its codec")

    def lost_packet(self, error: av.FFmpegError) -> None:
        """A packet could not be decoded; whether that matters, the sum will tell."""
        self._complaint = f"; FFmpeg says: {error.strerror}"

    def broke_off(self, error: av.FFmpegError) -> None:
        """No further packet could be read."""
        self.lost_packet(error)
        self._broken_off = True

    def verdict(self, decoded: float, seconds: float, tolerance: float) -> ClipFault | None:
        """The fault of having decoded so many of the wanted seconds and no more."""
        expected = seconds if self._broken_off else min(self._promised or 0.0, seconds)
        if self.fault is not None:
            return self.fault
        if decoded == 0 and self._complaint:
            return ClipFault("unreadable", f"{self.name}: nothing can be decoded{self._complaint}")
        if decoded < expected - tolerance:
            whole = f"the promised {self._promised:.2f} s" if self._promised else "an unknown length"
            return ClipFault("truncated", f"{self.name}: {decoded:.2f} s decoded of {whole}{self._complaint}")
        if decoded == 0:
            return ClipFault("too-short", f"{self.name} is empty")
        return None


def _decode(container: InputContainer, readers: Sequence[_Reader]) -> None:
    """Feed the readers, in one pass, until none of them wants more."""
    busy = {reader.stream.index: reader for reader in readers if reader.diagnosis.fault is None}
    if not busy:
        return
    for reader in busy.values():
        # Clips are read in parallel by worker processes; threads within would only compete.
        reader.stream.codec_context.thread_count = 1
    try:
        for packet in container.demux(*(reader.stream for reader in busy.values())):
            index = packet.stream.index
            if index not in busy:
                continue
            _feed(busy[index], packet)
            if busy[index].full or busy[index].diagnosis.fault is not None:
                del busy[index]
            if not busy:
                return
    except av.FFmpegError as error:
        for reader in busy.values():
            reader.diagnosis.broke_off(error)


def _feed(reader: _Reader, packet: av.Packet[Any]) -> None:
    try:
        frames: list[Any] = packet.decode()
    except av.FFmpegError as error:
        reader.diagnosis.lost_packet(error)
        return
    try:
        for frame in frames:
            reader.take(frame)
    except ClipFault as fault:
        reader.diagnosis.fault = fault.with_traceback(None)


class _SoundReader:
    """Keeps the window of the sound with its margin and sums up the rest."""

    full = False

    def __init__(self, path: Path, container: InputContainer, stream: av.AudioStream, seconds: float) -> None:
        self.stream = stream
        self.diagnosis = _Diagnosis(path, container, stream)
        self._seconds = seconds
        self._format: tuple[int, int] | None = None
        self._blocks: list[NDArray[np.float32]] = []
        self._samples = 0
        self._sum = 0.0

    def take(self, frame: av.AudioFrame) -> None:
        found = (frame.sample_rate, frame.layout.nb_channels)
        if self._format not in {None, found}:
            change = f"changes from {self._format} to {found} (sample rate, channels)"
            raise ClipFault("unreadable", f"{self.diagnosis.name} {change}")
        if frame.format.packed.name not in _FULL_SCALE:
            kind = f"holds samples of the unknown type {frame.format.name}"
            raise ClipFault("unreadable", f"{self.diagnosis.name} {kind}")
        self._format = found
        block = _planar(frame)
        with np.errstate(invalid="ignore"):
            self._sum += float(block.sum(dtype=np.float64))
        wanted = _whole(frame.sample_rate * (self._seconds + _MARGIN_SECONDS)) - self._samples
        if wanted > 0:
            self._blocks.append(block[:, :wanted])
        self._samples += block.shape[1]

    def window(self) -> AudioWindow | ClipFault:
        rate, channels = self._format or (1, 1)
        length = self._samples / rate
        fault = self.diagnosis.verdict(length, self._seconds, _TOLERANCE_SECONDS)
        if fault is not None:
            return fault
        if not math.isfinite(self._sum):
            return ClipFault("not-finite", f"{self.diagnosis.name} holds NaN or infinite samples")
        return AudioWindow.of(
            Audio(np.concatenate(self._blocks, axis=1), rate),
            self._seconds,
            file_mean=self._sum / (self._samples * channels),
            file_seconds=length,
        )


def _planar(frame: av.AudioFrame) -> NDArray[np.float32]:
    """(channels, samples) float32 with full scale ±1, scaled as FFmpeg does."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    with np.errstate(over="ignore"):
        scaled = samples.astype(np.float32, order="C")
    kind = frame.format.packed.name
    if kind == "u8":
        scaled -= 128
    scaled /= _FULL_SCALE[kind]
    return scaled


class _FrameReader:
    """Hands every decoded frame, with its times, to the collector of each frame stream."""

    def __init__(
        self,
        path: Path,
        container: InputContainer,
        stream: av.VideoStream,
        seconds: float,
        wanted: Sequence[FrameStream],
    ) -> None:
        self.stream = stream
        self.diagnosis = _Diagnosis(path, container, stream)
        self._seconds = seconds
        self._collectors = {each: _Collector(each, seconds) for each in wanted}
        self._time_base = stream.time_base or Fraction(1)
        self._interval = 1 / (stream.average_rate or stream.guessed_rate or _DEFAULT_FRAME_RATE)
        self._start: Fraction | None = None
        self._end = Fraction(0)

    @property
    def full(self) -> bool:
        return all(collector.full for collector in self._collectors.values())

    def take(self, frame: av.VideoFrame) -> None:
        start = frame.pts * self._time_base if frame.pts is not None else self._end
        self._end = start + (frame.duration * self._time_base or self._interval)
        self._start = start if self._start is None else self._start
        for collector in self._collectors.values():
            collector.take(frame, start)

    def pictures(self) -> dict[FrameStream, NDArray[Any] | ClipFault]:
        for collector in self._collectors.values():
            collector.finish(self._end)
        length = float(self._end - self._start) if self._start is not None else 0.0
        fault = self.diagnosis.verdict(length, self._seconds, _TOLERANCE_SECONDS + float(self._interval))
        return {
            wanted: collector.pictures(self.diagnosis.name) if collector.full or fault is None else fault
            for wanted, collector in self._collectors.items()
        }


class _Collector:
    """The pictures of one frame stream, chosen and converted as they come."""

    def __init__(self, wanted: FrameStream, seconds: float) -> None:
        self._wanted = wanted
        self._seconds = seconds
        rate, due = wanted.frame_rate, wanted.choice == "due"
        self._grid = FrameGrid(rate) if rate is not None and not due else None
        self._due = DueGrid(rate) if rate is not None and due else None
        self._limit = _whole(wanted.frame_rate * seconds) if wanted.frame_rate is not None else sys.maxsize
        self._pictures: list[NDArray[Any]] = []
        self._held: av.VideoFrame | None = None
        self._first: Fraction | None = None
        self._size: tuple[int, int] | None = None
        self._reformatter = VideoReformatter()
        self.full = self._limit == 0

    def take(self, frame: av.VideoFrame, start: Fraction) -> None:
        if self.full:
            return
        if self._grid is not None:
            self._show(self._held, self._grid.advance(start))
            self._held = frame
            return
        if self._due is not None:
            self._show(frame, self._due.advance(start))
            return
        self._first = start if self._first is None else self._first
        if start - self._first < self._seconds:
            self._show(frame, 1)
        else:
            self.full = True

    def finish(self, end: Fraction) -> None:
        """Show the last frame up to `end`."""
        if self._grid is not None and not self.full:
            self._show(self._held, self._grid.advance(end))

    def pictures(self, name: str) -> NDArray[Any] | ClipFault:
        if not self._pictures:
            return ClipFault("too-short", f"{name} has not one frame at {self._wanted.frame_rate} fps")
        return np.stack(self._pictures)

    def _show(self, frame: av.VideoFrame | None, times: int) -> None:
        times = min(times, self._limit - len(self._pictures))
        if frame is not None and times > 0:
            self._pictures.extend([self._converted(frame)] * times)
        self.full = len(self._pictures) == self._limit

    def _converted(self, frame: av.VideoFrame) -> NDArray[Any]:
        if self._size is None:
            self._size = _scaled_size(frame.width, frame.height, self._wanted.short_side)
        width, height = self._size
        picture: NDArray[Any] = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format=self._wanted.pixel_format,
            interpolation="BICUBIC" if self._wanted.short_side is None else "AREA",
            threads=1,
        ).to_ndarray()
        return picture if self._wanted.transform is None else self._wanted.transform(picture)


def _scaled_size(width: int, height: int, short_side: int | None) -> tuple[int, int]:
    scale = min(1.0, short_side / min(width, height)) if short_side is not None else 1.0
    return round(width * scale), round(height * scale)


_Reader: TypeAlias = _SoundReader | _FrameReader


def _whole(count: float) -> int:
    """Round down; infinity is as many as there may be."""
    return math.floor(count) if math.isfinite(count) else sys.maxsize
