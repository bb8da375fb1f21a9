"""Clips as files: whole, repeatable, resumable, listed."""

import hashlib
import json
from pathlib import Path

import av
import numpy as np
import pytest

from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.impacts.pictures import render_frames
from v2abench.impacts.rendering import render
from v2abench.impacts.scenes import VERSION, make_scene
from v2abench.impacts.sounds import render_sound
from v2abench.media.reading import read_audio


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("rendered")
    render("test", [4, 0, 2], folder, workers=1)
    return folder


def test_clips_come_in_the_order_asked_for(rendered):
    clips = render("test", [4, 0, 2], rendered)
    assert [clip.id for clip in clips] == ["test-000004", "test-000000", "test-000002"]
    for clip, index in zip(clips, (4, 0, 2), strict=True):
        scene = make_scene("test", index)
        assert clip.video == rendered / f"{clip.id}.mp4"
        assert clip.reference == rendered / f"{clip.id}.flac"
        assert (clip.prompt, clip.label, clip.speech) == (scene.prompt, scene.material.name, False)


def test_files_hold_the_scene(rendered):
    audio = read_audio(rendered / "test-000002.flac")
    np.testing.assert_allclose(audio.samples, render_sound(make_scene("test", 2)).samples, atol=1 / 32768)
    frames = decoded(rendered / "test-000002.mp4")
    true = render_frames(make_scene("test", 2))
    assert frames.shape == true.shape
    assert np.abs(frames.astype(float) - true).mean() < 4


def decoded(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        assert not container.streams.audio
        assert container.streams.video[0].average_rate == 25
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_the_manifest_lists_every_clip_in_order(rendered):
    listed = records(rendered)
    assert [record["id"] for record in listed] == ["test-000000", "test-000002", "test-000004"]
    record, scene = listed[1], make_scene("test", 2)
    assert record["video"] == "test-000002.mp4"
    assert record["reference"] == "test-000002.flac"
    assert record["label"] == scene.material.name
    assert record["prompt"] == scene.prompt
    assert [event["time_s"] for event in record["events"]] == pytest.approx(
        [e.time_s for e in scene.events], abs=1e-6
    )
    assert [event["speed"] for event in record["events"]] == pytest.approx(
        [e.speed for e in scene.events], abs=1e-4
    )
    assert (record["seconds"], record["fps"], record["sample_rate"]) == (4.0, 25, 16000)
    assert record["version"] == VERSION


def test_what_is_missing_comes_back_with_the_same_bytes(rendered):
    before = digests(rendered)
    (rendered / "test-000000.flac").unlink()
    (rendered / "test-000004.mp4").unlink()
    (rendered / "manifest.jsonl").unlink()
    render("test", [0, 2, 4], rendered)
    assert digests(rendered) == before


def test_clips_that_are_there_are_left_alone(rendered, monkeypatch):
    monkeypatch.setattr("v2abench.impacts.rendering.write_video", pytest.fail)
    monkeypatch.setattr("v2abench.impacts.rendering.write_audio", pytest.fail)
    render("test", [0, 2, 4], rendered)


def test_a_leftover_of_a_killed_run_is_ignored(tmp_path, rendered):
    leftovers = [
        tmp_path / ".test-000000.mp4.tmp",
        tmp_path / ".test-000000.1a2b.mp4",
        tmp_path / "other.mp4",
    ]
    for leftover in leftovers:
        leftover.write_bytes(b"half")
    render("test", [0], tmp_path)
    assert digests(tmp_path)["test-000000.mp4"] == digests(rendered)["test-000000.mp4"]
    assert [record["id"] for record in records(tmp_path)] == ["test-000000"]
    assert all(leftover.read_bytes() == b"half" for leftover in leftovers)


def test_workers_do_not_change_bytes(tmp_path):
    indices = range(8, 14)
    render("train", indices, tmp_path / "one", workers=1)
    render("train", reversed(indices), tmp_path / "two", workers=2)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert len(digests(tmp_path / "one")) == 13


def test_progress_counts_what_was_there(rendered, tmp_path):
    seen = []
    render("val", [0], tmp_path)
    render("val", [0, 1, 2], tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_an_unknown_split_suggests_the_near_name(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'test'"):
        render("tests", [0], tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(V2ABenchError, match=r"file/clips.*name a folder"):
        render("test", [0], tmp_path / "file" / "clips")


@pytest.mark.parametrize(
    "line", ['{"id": "test-000000", "version": "0"}', '{"file": "a.mp4"}', "id,video", "[]"]
)
def test_the_manifest_of_something_else_is_not_overwritten(tmp_path, line):
    (tmp_path / "manifest.jsonl").write_text(line + "\n")
    with pytest.raises(V2ABenchError, match=r"manifest\.jsonl does not list .* name an empty folder"):
        render("test", [0], tmp_path)
    assert digests(tmp_path).keys() == {"manifest.jsonl"}
