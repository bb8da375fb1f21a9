"""Damaged media end in data or in a fault of the clip, never in another exception, and never hang."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from steady import FUZZ

from v2abench.errors import ClipFault, V2ABenchError
from v2abench.media.audio import Audio
from v2abench.media.probing import probe
from v2abench.media.reading import AudioWindow, FrameStream, read_audio, read_media
from v2abench.media.writing import write_audio, write_video

STREAM = FrameStream(frame_rate=Fraction(10), short_side=32)
KINDS = ("clip.mp4", "sound.wav", "sound.flac", "picture.png")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Small files of every kind that we write, and a picture, which is no clip."""
    import cv2  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("whole")
    rng = np.random.default_rng(0)
    audio = Audio(0.3 * rng.standard_normal((2, 4000)).astype(np.float32), 8000)
    frames = rng.integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
    write_video(folder / "clip.mp4", frames, Fraction(25), audio)
    write_audio(folder / "sound.wav", audio)
    write_audio(folder / "sound.flac", audio)
    cv2.imwrite(str(folder / "picture.png"), frames[0])
    return {name: (folder / name).read_bytes() for name in KINDS}


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Bytes are overwritten, cut out, doubled, and the end is lost."""
    steps = draw(
        st.lists(
            st.tuples(st.sampled_from("ocdt"), st.floats(0, 1), st.integers(1, 64), st.binary(max_size=16)),
            min_size=1,
            max_size=6,
        )
    )

    def mutate(data: bytes) -> bytes:
        for kind, where, length, new in steps:
            at = int(where * len(data))
            if kind == "o":
                data = data[:at] + new + data[at + len(new) :]
            elif kind == "c":
                data = data[:at] + data[at + length :]
            elif kind == "d":
                data = data[: at + length] + data[at:]
            else:
                data = data[: max(at, 1)]
        return data

    return mutate


def read_everything(path: Path) -> None:
    """Each reader gives data that are finite and in their window, or a fault."""
    try:
        media = read_media(path, seconds=0.5, frames=[STREAM])
    except ClipFault:
        return
    if isinstance(media.sound, AudioWindow):
        assert np.isfinite(media.sound.audio.samples).all()
    frames = media.frames[STREAM]
    if not isinstance(frames, ClipFault):
        assert frames.dtype == np.uint8
        assert len(frames) <= 5


@pytest.mark.parametrize("kind", KINDS)
@FUZZ
@given(mutate=mutations())
def test_damaged_files(
    kind: str, mutate: Callable[[bytes], bytes], whole: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / kind
    path.write_bytes(mutate(whole[kind]))
    read_everything(path)
    for reader in (probe, read_audio):
        try:
            reader(path)
        except (ClipFault, V2ABenchError):
            continue


@FUZZ
@given(data=st.binary(max_size=400), suffix=st.sampled_from([".mp4", ".wav", ".ogg", ".mkv"]))
def test_noise_as_a_file(data: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"noise{suffix}"
    path.write_bytes(data)
    read_everything(path)
