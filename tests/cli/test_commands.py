"""The commands as a person meets them: results on stdout, messages on stderr, clear ends."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from v2abench.features.store import Record, Store

Run = Callable[..., object]


@pytest.fixture
def line(videos: Path, protocol_file: Path) -> list[object]:
    """An evaluation to which --model and --output are missing."""
    return ["eval", "--dataset", f"folder:{videos}", "--protocol", protocol_file, "--workers", 0]


@pytest.fixture
def evaluated(v2abench: Run, line: list[object], tmp_path: Path) -> Path:
    """A folder with the runs of two controls."""
    shown = v2abench(*line, "--model", "ground-truth", "--model", "silence", "--output", tmp_path / "runs")
    assert shown.code == 0, shown.err
    return tmp_path / "runs"


def test_eval_of_one_model_shows_every_metric_with_interval_coverage_and_signature(
    v2abench: Run, line: list[object], generated: Path, tmp_path: Path
) -> None:
    shown = v2abench(*line, "--model", f"mine=folder:{generated}", "--output", tmp_path)
    assert shown.code == 0
    for word in (
        "mine on",
        "FD_levels ↓",
        "AV-Align ↑",
        "95% interval",
        "6/6",
        "LUFS",
        "signature  tiny:1@",
        "6 of 6 clips ok",
    ):
        assert word in shown.out
    assert f"wrote {tmp_path}" in shown.err
    assert "wrote" not in shown.out


def test_json_goes_alone_to_stdout(v2abench: Run, line: list[object], tmp_path: Path) -> None:
    shown = v2abench(*line, "--model", "noise", "--output", tmp_path, "--json")
    report = json.loads(shown.out)
    assert report["model"]["name"] == "noise"
    assert {score["name"] for score in report["scores"]} == {
        "FD_levels",
        "AV-Align",
        "Level-Diff",
        "Loudness",
    }


def test_strict_and_mistakes_exit_with_two_and_one_line(
    v2abench: Run, line: list[object], tmp_path: Path
) -> None:
    shown = v2abench(*line, "--output", tmp_path, "--model", "silence", "--strict")
    assert (shown.code, "error: --strict: 6 of 6 clips" in shown.err) == (2, True)
    assert "Loudness" in shown.out
    shown = v2abench(*line, "--output", tmp_path, "--model", "silense")
    assert (shown.code, shown.out) == (2, "")
    assert "error: unknown model 'silense': did you mean 'silence'?" in shown.err
    assert "Traceback" not in shown.err


def test_intervals_can_be_left_out_and_fd_infinity_added(
    v2abench: Run, line: list[object], tmp_path: Path
) -> None:
    shown = v2abench(
        *line, "--output", tmp_path, "--model", "noise", "--bootstrap", 0, "--fd-infinity", "--json"
    )
    scores = {score["name"]: score for score in json.loads(shown.out)["scores"]}
    assert all(score["interval"] is None for score in scores.values())
    assert scores["FD_levels∞"]["value"] is None
    assert "6 clips" in scores["FD_levels∞"]["warnings"][0]


def test_leaderboard_is_built_from_folders_and_written(
    v2abench: Run, evaluated: Path, tmp_path: Path
) -> None:
    shown = v2abench(
        "leaderboard", "build", evaluated, "--output", tmp_path / "board", "--formats", "md,csv,tex"
    )
    assert shown.code == 0
    assert "ground-truth" in shown.out
    assert "silence" in shown.out
    markdown = (tmp_path / "board.md").read_text(encoding="utf-8")
    assert "ground-truth" in markdown
    assert "tiny:1@" in markdown
    table = pd.read_csv(tmp_path / "board.csv")
    assert len(table) == 2
    assert r"\toprule" in (tmp_path / "board.tex").read_text(encoding="utf-8")


def test_leaderboard_refuses_to_mix_signatures(
    v2abench: Run, evaluated: Path, videos: Path, line: list[object], tmp_path: Path
) -> None:
    fewer = shutil.copytree(videos, tmp_path / "fewer")
    (fewer / "f.mp4").unlink()
    # The later of two --dataset counts.
    line = [*line, "--dataset", f"folder:{fewer}"]
    assert v2abench(*line, "--model", "noise", "--output", evaluated).code == 0
    shown = v2abench("leaderboard", "build", evaluated)
    assert shown.code == 2
    assert "--force" in shown.err
    assert v2abench("leaderboard", "build", evaluated, "--force").code == 0


def test_leaderboard_of_nothing_is_told(v2abench: Run, tmp_path: Path) -> None:
    shown = v2abench("leaderboard", "build", tmp_path)
    assert (shown.code, "holds no run" in shown.err) == (2, True)


def test_check_prints_findings_and_strict_ends_with_two(v2abench: Run, videos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(videos, tmp_path / "videos")
    shown = v2abench("check", f"folder:{folder}", "--workers", 0, "--strict")
    assert (shown.code, shown.out) == (0, "")
    assert "6 clips, 0 findings" in shown.err
    (folder / "c.mp4").write_bytes(b"")
    shown = v2abench("check", f"folder:{folder}", "--workers", 0)
    assert shown.code == 0
    assert "unreadable" in shown.out
    shown = v2abench("check", f"folder:{folder}", "--workers", 0, "--strict", "--json")
    assert shown.code == 2
    assert {finding["clip"] for finding in json.loads(shown.out)} == {"c"}


@pytest.mark.parametrize(
    ("group", "words"),
    [
        ("models", ["ground-truth", "folder"]),
        ("metrics", ["frechet_distance", "arXiv:1706.08500", "lower"]),
        ("datasets", ["vggsound", "impacts", "manifest"]),
        ("protocols", ["light", "FD_aiSFX"]),
    ],
)
def test_lists_name_what_there_is(v2abench: Run, group: str, words: list[str]) -> None:
    shown = v2abench(group, "list")
    assert shown.code == 0
    assert all(word in shown.out for word in words)
    rows = json.loads(v2abench(group, "list", "--json").out)
    optional = {"unit", "source"}
    assert all(value for row in rows for key, value in row.items() if key not in optional), rows


def test_weights_commands_on_an_empty_cache(v2abench: Run, cache: Path) -> None:
    shown = v2abench("weights", "list")
    assert "aisfx" in shown.out
    assert "CC BY 4.0" in shown.out
    assert "absent" in shown.out
    assert v2abench("weights", "path", "aisfx").out.strip() == str(cache / "weights/aisfx-0.1.2.pth")
    assert v2abench("weights", "verify").code == 0
    target = cache / "weights/aisfx-0.1.2.pth"
    target.parent.mkdir()
    target.write_bytes(b"not it")
    shown = v2abench("weights", "verify")
    assert (shown.code, shown.out) == (2, "aisfx: damaged\n")
    shown = v2abench("weights", "path", "aisfix")
    assert (shown.code, "did you mean 'aisfx'" in shown.err) == (2, True)


def test_cache_commands(v2abench: Run, cache: Path) -> None:
    Store(cache / "features/net-1", ("x",)).write([Record("a")], {})
    shown = v2abench("cache", "info")
    assert "features/net-1" in shown.out
    assert str(cache) in shown.out
    assert v2abench("cache", "verify").code == 0
    part = next(cache.rglob("part-*.parquet"))
    part.write_bytes(b"broken")
    assert v2abench("cache", "verify").code == 2
    assert str(part) in v2abench("cache", "gc", "--dry-run").out
    assert part.exists()
    assert "removed 1 files" in v2abench("cache", "gc").err
    assert not part.exists()
    assert v2abench("cache", "verify").code == 0


def test_doctor_is_content_here_and_names_a_broken_cache(
    v2abench: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = v2abench("doctor")
    assert shown.code == 0, shown.out
    assert "encoder libx264" in shown.out
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("V2ABENCH_HOME", str(blocked / "home"))
    shown = v2abench("doctor")
    assert (shown.code, "set V2ABENCH_HOME" in shown.out) == (2, True)
