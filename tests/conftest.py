"""A small world of real files for the whole harness: videos with sound, in a cache of their own."""

import os
from fractions import Fraction
from pathlib import Path

import pytest
from knocking import knocks

from v2abench.media.writing import write_audio, write_video
from v2abench.protocols.schema import Protocol, parse_protocol
from v2abench.weights.fetching import require
from v2abench.weights.registry import WeightsUnavailableError

PROTOCOL = """
name: tiny
version: 1
summary: Metrics that need no weights, on two seconds.
window: {seconds: 2.0, minimum: 0.3, tolerance: 0.1}
networks:
  motion: {short_side: 64}
metrics:
  - {metric: frechet_distance, name: FD_levels, options: {embedding: levels.loudness}}
  - {metric: av_align, name: AV-Align}
  - {metric: level_difference, name: Level-Diff}
  - {metric: loudness, name: Loudness}
"""


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("V2ABENCH_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six videos of two seconds, each with its sound, one of them with an odd name."""
    folder = tmp_path_factory.mktemp("videos")
    for index, name in enumerate(("-dash", "a b+é", "c", "d", "e", "f")):
        frames, audio = knocks(index)
        write_video(folder / f"{name}.mp4", frames, Fraction(25), audio)
    return folder


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory, videos: Path) -> Path:
    """A folder with another sound for each of `videos`, in WAV and FLAC."""
    folder = tmp_path_factory.mktemp("generated")
    for index, video in enumerate(sorted(videos.iterdir())):
        suffix = (".wav", ".flac")[index % 2]
        write_audio(folder / f"{video.stem}{suffix}", knocks(index + 100)[1])
    return folder


@pytest.fixture
def protocol() -> Protocol:
    return parse_protocol(PROTOCOL, "tiny.yaml")


@pytest.fixture
def protocol_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(PROTOCOL)
    return path


@pytest.fixture(scope="session")
def aisfx_checkpoint() -> Path:
    """The official weights. Tests that need them are skipped where they cannot be had, except in CI."""
    try:
        return require("aisfx")
    except WeightsUnavailableError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
