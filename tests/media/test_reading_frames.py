import json
import pickle
from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import av
import numpy as np
import pytest
from av.filter import Graph
from media_files import make_video, numbers, tone
from numpy.typing import NDArray

from v2abench.media.frame_grid import FrameGrid
from v2abench.media.reading import AudioWindow, FrameStream, read_media
from v2abench.media.writing import write_video

CASES = json.loads((Path(__file__).parents[1] / "goldens" / "av_frame_sampling.json").read_text())["cases"]
SYNC, SLOW, EVERY = FrameStream(Fraction(25)), FrameStream(Fraction(1, 2)), FrameStream(None)


def chosen(times: Iterable[Fraction], end: Fraction, rate: Fraction) -> list[int]:
    """The source frame that each output frame shows."""
    grid = FrameGrid(rate)
    counts = [grid.advance(time) for time in [*times, end]]
    return [index - 1 for index, count in enumerate(counts) for _ in range(count)]


def frames_of(path: Path, stream: FrameStream, seconds: float) -> NDArray[Any]:
    frames = read_media(path, seconds=seconds, sound=False, frames=[stream]).frames[stream]
    assert isinstance(frames, np.ndarray), frames
    return frames


def filtered(path: Path, *filters: tuple[str, str]) -> list[NDArray[Any]]:
    """The pictures that libavfilter makes of a file."""
    pictures = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        graph = Graph()
        nodes = [graph.add_buffer(template=stream, time_base=stream.time_base)]
        nodes += [graph.add(*each) for each in (*filters, ("buffersink", ""))]
        for before, after in pairwise(nodes):
            before.link_to(after)
        graph.configure()
        for frame in [*container.decode(stream), None]:
            graph.push(frame)
            while True:
                try:
                    pictures.append(graph.pull().to_ndarray())
                except (av.BlockingIOError, av.EOFError):
                    break
    return pictures


@pytest.mark.parametrize(
    "case", CASES, ids=lambda c: f"{c['source_fps'].replace('/', ':')}x{c['source_frames']}"
)
def test_grid_is_that_of_ffmpeg(case: dict[str, Any]) -> None:
    base, fps = Fraction(case["time_base"]), Fraction(case["source_fps"])
    duration = round(1 / fps / base)
    times = [Fraction(index * duration) * base for index in range(case["source_frames"])]
    end = times[-1] + duration * base
    sync = chosen(times, end, Fraction(25))
    assert len(sync) == case["sync_25fps_total_out"]
    assert sync[:200] == case["sync_25fps"]
    assert chosen(times, end, Fraction(1, 2)) == case["ib_0.5fps"]


@pytest.mark.parametrize(
    ("ticks", "expected"),
    [
        ((-6, -2, 2, 6, 10), [0, 1, 1, 2, 3, 4]),
        ((0, 4, 2, 8, 20), [0, 2, 3, 3, 3, 4]),
        ((140, 144, 148), [0, 1, 2]),
        ((0, 40), [0] * 10 + [1]),
    ],
    ids=["negative", "backwards", "late", "gap"],
)
def test_grid_of_uneven_times(ticks: tuple[int, ...], expected: list[int]) -> None:
    """In hundredths of a second, each frame for four; expected is what libavfilter 11.14 gave."""
    times = [Fraction(tick, 100) for tick in ticks]
    assert chosen(times, times[-1] + Fraction(4, 100), Fraction(25)) == expected


@pytest.mark.parametrize(
    "fps", [Fraction(25), Fraction(30), Fraction(24000, 1001), Fraction(15), Fraction(60)]
)
def test_frames_of_a_file_are_those_of_the_grid(fps: Fraction, tmp_path: Path) -> None:
    path = make_video(tmp_path / "x.mp4", 4.0, fps)
    count = round(4 * fps)
    times = [Fraction(index) / fps for index in range(count)]
    for stream, rate in ((SYNC, Fraction(25)), (SLOW, Fraction(1, 2))):
        expected = chosen(times, count / fps, rate)[: int(rate * 3)]
        assert numbers(frames_of(path, stream, 3.0)) == expected
    assert numbers(frames_of(path, EVERY, 3.0)) == [i for i in range(count) if i / fps < 3]


def test_variable_frame_rate_equals_libavfilter(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    ticks = np.cumsum(rng.integers(1, 150, size=60)).tolist()
    path = make_video(tmp_path / "x.mp4", fps=1000, ticks=ticks)
    expected = numbers(np.stack(filtered(path, ("fps", "25:round=near"), ("format", "rgb24"))))
    assert numbers(frames_of(path, SYNC, 60.0)) == expected
    assert numbers(frames_of(path, SYNC, 1.0)) == expected[:25]


def test_late_start_counts_from_the_first_frame(tmp_path: Path) -> None:
    path = make_video(tmp_path / "x.ts", ticks=range(30, 90))
    assert numbers(frames_of(path, SYNC, 2.0)) == list(range(50))


@pytest.mark.parametrize("name", ["x.h264", "x.avi"])
def test_no_time_stamps_or_durations(name: str, tmp_path: Path) -> None:
    path = make_video(tmp_path / name, 2.0, options={} if name == "x.avi" else None)
    assert numbers(frames_of(path, SYNC, 1.0)) == list(range(25))
    assert numbers(frames_of(path, EVERY, 1.0)) == list(range(25))


def test_a_short_video_gives_what_it_has(tmp_path: Path) -> None:
    path = make_video(tmp_path / "x.mp4", 1.0)
    assert len(frames_of(path, SYNC, 8.0)) == 25
    assert len(frames_of(path, EVERY, 8.0)) == 25


@pytest.mark.parametrize(
    "attributes", [{}, {"colorspace": 1, "color_range": 1}, {"colorspace": 5, "color_range": 2}], ids=str
)
@pytest.mark.parametrize("size", [(80, 48), (90, 62)])
def test_pixels_are_those_of_libavfilter(
    attributes: dict[str, int], size: tuple[int, int], tmp_path: Path
) -> None:
    path = make_video(tmp_path / "x.mp4", 0.2, size=size, stream_attributes=attributes)
    for stream in (EVERY, FrameStream(None, "gray")):
        expected = filtered(path, ("format", stream.pixel_format))
        np.testing.assert_array_equal(frames_of(path, stream, 1.0), np.stack(expected))


@pytest.mark.parametrize(
    ("size", "short_side", "shape"),
    [
        ((160, 90), 45, (45, 80)),
        ((90, 160), 45, (80, 45)),
        ((160, 90), 200, (90, 160)),
        ((150, 100), 67, (67, 100)),
    ],
)
def test_short_side_shrinks_and_never_enlarges(
    size: tuple[int, int], short_side: int, shape: tuple[int, int], tmp_path: Path
) -> None:
    path = make_video(tmp_path / "x.mp4", 0.4, size=size)
    frames = frames_of(path, FrameStream(Fraction(25), "gray", short_side), 8.0)
    assert frames.shape == (10, *shape)
    assert frames.dtype == np.uint8
    assert numbers(frames) == list(range(10))


def test_shrinking_averages(tmp_path: Path) -> None:
    stripes = np.zeros((5, 96, 160, 3), dtype=np.uint8)
    stripes[:, :, ::2] = 200
    write_video(tmp_path / "x.mp4", stripes, Fraction(25))
    frames = frames_of(tmp_path / "x.mp4", FrameStream(None, "gray", 48), 8.0)
    np.testing.assert_allclose(frames, 100, atol=12)


def half(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    return picture[::2, ::2].astype(np.float32)


def test_transform_is_applied_to_each_frame(tmp_path: Path) -> None:
    path = make_video(tmp_path / "x.mp4", 0.4)
    stream = FrameStream(Fraction(25), transform=half)
    assert pickle.loads(pickle.dumps(stream)) == stream
    frames = frames_of(path, stream, 8.0)
    assert frames.dtype == np.float32
    np.testing.assert_array_equal(frames, np.stack([half(f) for f in frames_of(path, SYNC, 8.0)]))


def test_one_opening_serves_all_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "x.mp4", 3.0, sound=tone(3.0, 16000))
    wanted = [SYNC, SLOW, FrameStream(None, "gray", 24)]
    apart = [frames_of(path, stream, 2.0) for stream in wanted]
    sound_apart = read_media(path, seconds=2.0).sound
    opening = Mock(wraps=av.open)
    monkeypatch.setattr(av, "open", opening)
    media = read_media(path, seconds=2.0, frames=wanted)
    assert opening.call_count == 1
    assert media.video_seconds == 3.0
    for stream, alone in zip(wanted, apart, strict=True):
        np.testing.assert_array_equal(media.frames[stream], alone)
    assert isinstance(media.sound, AudioWindow)
    assert isinstance(sound_apart, AudioWindow)
    np.testing.assert_array_equal(media.sound.audio.samples, sound_apart.audio.samples)


def test_size_changes_in_the_middle(tmp_path: Path) -> None:
    first = make_video(tmp_path / "1.ts", 1.0, size=(80, 48)).read_bytes()
    second = make_video(tmp_path / "2.ts", 1.0, size=(160, 96)).read_bytes()
    path = tmp_path / "x.ts"
    path.write_bytes(first + second)
    frames = frames_of(path, EVERY, 8.0)
    assert frames.shape[1:] == (48, 80, 3)
    assert numbers(frames[-25:]) == list(range(25))
