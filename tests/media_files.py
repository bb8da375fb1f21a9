"""Makes media files for tests, the nasty ones too, without the code under test.

Every picture of a made video shows its own number, as bars that survive
compression and scaling; `numbers` reads them back.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile

BITS = 10


def numbered(number: int, size: tuple[int, int] = (80, 48)) -> NDArray[np.uint8]:
    """A picture of (width, height) `size`, as (height, width, 3), that shows `number` in bars."""
    width, height = size
    bars = [(number >> bit & 1) * 255 for bit in range(BITS)]
    columns = np.arange(width) * BITS // width
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    picture[:] = np.array(bars, dtype=np.uint8)[columns][None, :, None]
    return picture


def numbers(pictures: NDArray[np.uint8]) -> list[int]:
    """The numbers shown by (T, H, W, 3) or (T, H, W) pictures."""
    gray = pictures if pictures.ndim == 3 else pictures.mean(axis=3)
    columns = np.arange(gray.shape[2]) * BITS // gray.shape[2]
    return [sum((picture[:, columns == bit].mean() > 128) << bit for bit in range(BITS)) for picture in gray]


def make_wav(path: Path, samples: NDArray[Any], rate: int) -> Path:
    """Write (channels, n) or (n,) samples as they are: uint8, int16, int32, float32 or float64."""
    wavfile.write(path, rate, np.atleast_2d(samples).T)
    return path


def make_video(
    path: Path,
    seconds: float = 2.0,
    fps: Fraction | int = 25,
    size: tuple[int, int] = (80, 48),
    *,
    sound: NDArray[np.float32] | None = None,
    sound_rate: int = 16000,
    ticks: Sequence[int] | None = None,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    stream_attributes: dict[str, int] | None = None,
) -> Path:
    """Write a video of numbered pictures, with (channels, n) `sound` as AAC.

    Pictures lie at index / fps, or at `ticks`, in units of 1 / fps, for a variable
    frame rate. `options` go to the container, `stream_attributes` to the encoder.
    """
    count = round(seconds * fps) if ticks is None else len(ticks)
    with av.open(str(path), "w", options=options or {}) as container:
        video: Any = container.add_stream(codec, Fraction(fps))
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = 1 / Fraction(fps)
        if codec == "libx264":
            video.options = {"preset": "ultrafast", "threads": "1"}
        for name, value in (stream_attributes or {}).items():
            setattr(video.codec_context, name, value)
        audio: Any = None
        if sound is not None:
            audio = container.add_stream("aac", sound_rate)
            audio.layout = {1: "mono", 2: "stereo"}[len(sound)]
        packets = []
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(numbered(index, size), format="rgb24")
            frame.pts = index if ticks is None else ticks[index]
            frame.time_base = 1 / Fraction(fps)
            packets += video.encode(frame)
        packets += video.encode(None)
        if sound is not None:
            block = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), "fltp", audio.layout.name)
            block.sample_rate, block.pts = sound_rate, 0
            block.time_base = Fraction(1, sound_rate)
            packets += [*audio.encode(block), *audio.encode(None)]
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def cut(path: Path, share: float, name: str | None = None) -> Path:
    """Copy the first `share` of the bytes of a file to a file beside it."""
    content = path.read_bytes()
    short = path.with_name(name or f"cut-{path.name}")
    short.write_bytes(content[: int(len(content) * share)])
    return short


def tone(seconds: float, rate: int, channels: int = 1, frequency: float = 440.0) -> NDArray[np.float32]:
    """A sine of amplitude 0.5, (channels, n), each further channel at half the level."""
    wave = 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)
    return np.stack([wave / 2**channel for channel in range(channels)]).astype(np.float32)
