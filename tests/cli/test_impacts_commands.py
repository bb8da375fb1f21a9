"""`v2abench impacts` as a person meets it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from v2abench.impacts.scenes import make_scene
from v2abench.impacts.sounds import render_sound
from v2abench.impacts.training.networks import TRAININGS
from v2abench.media.writing import write_audio

Run = Callable[..., object]


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """The true sound of one clip, and another clip's under a wrong name."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    write_audio(folder / "test-000000.flac", render_sound(make_scene("test", 0)))
    write_audio(folder / "test-000001.flac", render_sound(make_scene("test", 9)))
    return folder


def test_the_oracle_grades_a_folder(v2abench: Run, sounds: Path) -> None:
    shown = v2abench("impacts", "oracle", sounds)
    assert shown.code == 0
    for word in ("onset F1", "right material", "level error, dB", "overall", "2 clips graded"):
        assert word in shown.out
    (sounds / "test-000002.wav").write_bytes(b"")
    clips = json.loads(v2abench("impacts", "oracle", sounds, "--json").out)
    assert clips["clips"]["test-000000"]["overall"] > clips["clips"]["test-000001"]["overall"]
    assert list(clips["faults"]) == ["test-000002"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("train", "taggr"), "did you mean 'tagger'"),
        (("train", "sync", "--clips", 3), "a batch of sync has 24 clips"),
        (("train", "sync", "--steps", 0), "--steps"),
        (("oracle", "nowhere"), "nowhere is not a folder"),
        (("validate", "--limit", 3), "--limit"),
        (("validate", "--protocol", "impcts"), "did you mean 'impacts'"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_ends_with_2(v2abench: Run, line: tuple, message: str) -> None:
    shown = v2abench("impacts", *line)
    assert shown.code == 2
    assert message in shown.err
    assert "Traceback" not in shown.err


def test_training_writes_weights_and_card_and_shows_the_figures(
    v2abench: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("v2abench.impacts.training_data.SHARD", 16)
    monkeypatch.setattr("v2abench.impacts.training.networks.TRAININGS", _tiny())
    line = ("impacts", "train", "tagger", "--output", tmp_path / "nets", "--steps", 2, "--clips", 16)
    shown = v2abench(*line, "--held-out", 16, "--threads", 1, "--seed", 3)
    assert shown.code == 0, shown.err
    assert "accuracy" in shown.out
    card = json.loads((tmp_path / "nets" / "tagger.json").read_text())
    assert (card["recipe"]["seed"], card["recipe"]["steps"], card["threads"]) == (3, 2, 1)
    assert (tmp_path / "nets" / "tagger.safetensors").is_file()


def _tiny() -> dict:
    run, recipe = TRAININGS["tagger"]
    return {"tagger": (run, replace(recipe, batch=4))}
