"""Encoding: WAV and FLAC sound, MP4 video, and sound laid under a video.

The same input gives the same bytes with the same FFmpeg: no dates, no program
versions, one thread. A file is encoded in memory and then written atomically.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.codec.context import Flags as CodecFlags
from av.container import OutputContainer
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from v2abench.errors import ClipFault, V2ABenchError
from v2abench.files import atomic
from v2abench.media.audio import Audio
from v2abench.media.probing import best_video, open_media
from v2abench.media.reading import read_audio
from v2abench.media.resampling import resample

_BIT_EXACT = {"fflags": "bitexact"}
"""Leaves FFmpeg's version out of the container."""

_LAYOUTS = {1: "mono", 2: "stereo"}
_SAMPLE_FORMATS = {"pcm_s16le": "s16", "pcm_f32le": "flt", "flac": "s16", "aac": "fltp"}

_AAC_RATES = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000}
_AAC_FALLBACK_RATE = 48000
_AAC_BITS_PER_CHANNEL = 128_000

_X264_OPTIONS = {"preset": "veryfast", "crf": "18", "threads": "1", "mbtree": "0"}
"""Without `mbtree`, whose lookahead in x264 reads memory that nobody wrote: bytes then vary by chance."""


def write_audio(path: Path, audio: Audio, *, bits: Literal[16, 32] = 16) -> None:
    """Write `audio` to a `.wav` (16-bit integer or 32-bit float) or `.flac` (16-bit) file.

    Samples beyond full scale are clipped; 16-bit values are round(32768 * x), which
    read back to within 1/32768 of x. Raises `ClipFault` (`not-finite`, `too-short`)
    for the sound, `V2ABenchError` for a format or a place that does not take it.
    """
    codecs = {(".wav", 16): "pcm_s16le", (".wav", 32): "pcm_f32le", (".flac", 16): "flac"}
    suffix = path.suffix.lower()
    if (suffix, bits) not in codecs:
        known = ", ".join(f"{name} at {depth}" for name, depth in codecs)
        raise V2ABenchError(f"cannot write {path} at {bits} bits; possible are {known}")
    with _encoding(path, suffix[1:]) as container:
        _mux(container, _sound_packets(container, codecs[suffix, bits], audio))


def write_video(
    path: Path, frames: NDArray[np.uint8], frame_rate: Fraction, audio: Audio | None = None
) -> None:
    """Write `frames`, (T, H, W, 3) uint8 RGB, as H.264 (yuv420p, CRF 18) to an `.mp4` file.

    `audio` goes under them as in `mux`. Height and width must be even, for chroma is
    kept at half the size. Raises as `write_audio`.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
        found = f"{frames.shape} {frames.dtype}"
        raise V2ABenchError(f"cannot write {path}: frames must be (T, H, W, 3) uint8, not {found}")
    if frames.shape[1] % 2 or frames.shape[2] % 2:
        height, width = frames.shape[1:3]
        raise V2ABenchError(f"cannot write {path}: {width}x{height} is not even; crop or pad by a pixel")
    with _encoding(path, "mp4") as container:
        pictures = _picture_packets(container, frames, frame_rate)
        sound = _aac_packets(container, audio) if audio is not None else []
        _mux(container, [*pictures, *sound])


def mux(video: Path, audio: Audio | Path, output: Path) -> None:
    """Lay `audio`, all of it, under the pictures of `video` and write an `.mp4` file.

    The video packets are copied as they are; all other streams of `video` are left
    out. The sound becomes AAC at 128 kbit/s a channel, at 48 kHz where AAC lacks its
    rate. Raises `ClipFault` when an input does not read, and as `write_audio`.
    """
    sound = read_audio(audio) if isinstance(audio, Path) else audio
    with open_media(video) as source, _encoding(output, "mp4") as container:
        stream = best_video(source)
        if stream is None:
            raise ClipFault("no-video", f"{video} has no video")
        try:
            copy = container.add_stream_from_template(stream, opaque=True)
        except ValueError as error:
            raise V2ABenchError(f"cannot write {output}: {error}; convert {video} to H.264 first") from error
        try:
            pictures = [packet for packet in source.demux(stream) if packet.size]
        except av.FFmpegError as error:
            raise ClipFault("unreadable", f"{video} cannot be read to its end: {error.strerror}") from error
        for packet in pictures:
            packet.stream = copy
        _mux(container, [*pictures, *_aac_packets(container, sound)])


def _aac_packets(container: OutputContainer, audio: Audio) -> list[av.Packet[Any]]:
    if audio.sample_rate not in _AAC_RATES:
        audio = Audio(resample(audio.samples, audio.sample_rate, _AAC_FALLBACK_RATE), _AAC_FALLBACK_RATE)
    return _sound_packets(container, "aac", audio)


def _sound_packets(container: OutputContainer, codec: str, audio: Audio) -> list[av.Packet[Any]]:
    channels, count = audio.samples.shape
    if channels not in _LAYOUTS:
        raise V2ABenchError(f"cannot write {channels} channels: mix the sound down to one or two")
    if count == 0:
        raise ClipFault("too-short", "there are no samples to write")
    if not np.isfinite(audio.samples).all():
        raise ClipFault("not-finite", "the sound to write holds NaN or infinite samples")
    stream = _encoder(container, codec, audio.sample_rate)
    stream.layout = _LAYOUTS[channels]
    if codec == "aac":
        stream.bit_rate = _AAC_BITS_PER_CHANNEL * channels
    stream.format = sample_format = _SAMPLE_FORMATS[codec]
    quantised = _quantised(np.clip(audio.samples, -1, 1), sample_format)
    frame = av.AudioFrame.from_ndarray(quantised, sample_format, _LAYOUTS[channels])
    frame.sample_rate = audio.sample_rate
    frame.time_base = Fraction(1, audio.sample_rate)
    frame.pts = 0
    return [*stream.encode(frame), *stream.encode(None)]


def _quantised(samples: NDArray[np.float32], sample_format: str) -> NDArray[Any]:
    """From (channels, n) float32 to what PyAV takes: planar, or interleaved in one row."""
    if sample_format == "fltp":
        return np.ascontiguousarray(samples)
    if sample_format == "s16":
        samples = np.minimum(np.rint(samples * 32768), 32767).astype(np.int16)
    return samples.T.reshape(1, -1)


def _picture_packets(
    container: OutputContainer, frames: NDArray[np.uint8], frame_rate: Fraction
) -> list[av.Packet[Any]]:
    stream = _encoder(container, "libx264", frame_rate)
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = "yuv420p"
    stream.options = dict(_X264_OPTIONS)
    stream.codec_context.time_base = 1 / frame_rate
    reformatter = VideoReformatter()
    packets: list[av.Packet[Any]] = []
    for index, picture in enumerate(frames):
        rgb = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame = reformatter.reformat(rgb, format="yuv420p", threads=1)
        frame.time_base = 1 / frame_rate
        frame.pts = index
        packets += stream.encode(frame)
    packets += stream.encode(None)
    return packets


def _encoder(container: OutputContainer, codec: str, rate: int | Fraction) -> Any:
    if codec not in av.codecs_available:
        raise V2ABenchError(f"this build of PyAV has no encoder {codec}; install the wheel: pip install av")
    stream = container.add_stream(codec, rate)
    stream.codec_context.flags |= CodecFlags.bitexact
    return stream


def _mux(container: OutputContainer, packets: Sequence[av.Packet[Any]]) -> None:
    for packet in sorted(packets, key=lambda packet: (packet.dts or 0) * packet.time_base):
        container.mux(packet)


@contextmanager
def _encoding(path: Path, container_format: str) -> Iterator[OutputContainer]:
    """A container in memory that becomes the file `path` when the block ends well."""
    if path.suffix.lower() != f".{container_format}":
        raise V2ABenchError(f"cannot write {path}: its name must end in .{container_format}")
    buffer = io.BytesIO()
    try:
        with av.open(buffer, "w", format=container_format, container_options=_BIT_EXACT) as container:
            yield container
    except av.FFmpegError as error:
        raise V2ABenchError(f"cannot encode {path}: FFmpeg says {error.strerror}") from error
    with atomic(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
