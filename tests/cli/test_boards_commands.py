from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def two(v2abench: Run, videos: Path, generated: Path, protocol_file: Path, tmp_path: Path) -> Path:
    """Runs of the ground truth and of a model under the labels `truth` and `mine`."""
    models = ("--model", "truth=ground-truth", "--model", f"mine=folder:{generated}")
    options = ("--output", tmp_path / "runs", "--workers", "0", "--bootstrap", "10")
    shown = v2abench("eval", *models, "--dataset", f"folder:{videos}", "--protocol", protocol_file, *options)
    assert shown.code == 0, shown.err
    return tmp_path / "runs" / videos.name / "tiny"


def test_boards_pages_and_plots_of_two_runs(v2abench: Run, two: Path, tmp_path: Path) -> None:
    build = ("leaderboard", "build", two, "--base", "truth", "--group", "Models=mine", "--resamples", "100")
    shown = v2abench(*build, "--output", tmp_path / "board", "--formats", "md,html", "--facts", "text")
    assert shown.code == 0, shown.err
    assert "Models" in shown.out
    assert "Tested against truth" in shown.out
    assert "***Models***" in (tmp_path / "board.md").read_text()
    assert 'class="heading"' in (tmp_path / "board.html").read_text()

    diff = ("leaderboard", "diff", two / "truth", two / "mine")
    shown = v2abench(*diff, "--metric", "Level-Diff", "--top", "2")
    assert shown.code == 0, shown.err
    assert "mine against truth, Level-Diff ↓" in shown.out
    assert "biggest losses" in shown.out
    shown = v2abench(*diff, "--output", tmp_path / "diff")
    assert (tmp_path / "diff-Level-Diff.svg").is_file()
    assert "AV-Align" in shown.out

    kinds = ("--kind", "bars", "--kind", "distribution", "--metrics", "AV-Align")
    shown = v2abench("leaderboard", "plot", two, "--output", tmp_path / "plots", *kinds, "--formats", "png")
    assert shown.code == 0, shown.err
    assert sorted(f.name for f in (tmp_path / "plots").iterdir()) == ["bars.png", "distribution.png"]

    (tmp_path / "ids.txt").write_text("c\n\nd\n")
    shown = v2abench("gallery", two, "--out", tmp_path / "site", "--clips", f"@{tmp_path / 'ids.txt'}")
    assert shown.code == 0, shown.err
    assert shown.out.strip() == str(tmp_path / "site" / "index.html")
    assert (tmp_path / "site" / "index.html").read_text().count('<section class="clip"') == 2


def test_published_tables_are_listed_and_printed(v2abench: Run, tmp_path: Path) -> None:
    assert "v2a-dpo: V2A-DPO, Table 1 (arXiv:2603.11089)" in v2abench("leaderboard", "published").out
    shown = v2abench("leaderboard", "published", "v2a-dpo", "--output", tmp_path / "t", "--formats", "csv")
    assert all(text in shown.out for text in ("MMAudio-DPO", "51.38", "1.03B", "not measured here"))
    assert (tmp_path / "t.csv").read_text().count("\n") == 12


MISTAKES = {
    "build RUNS --group Aligned": "--group Aligned: write NAME=VALUE",
    "build RUNS --base nobody": "unknown base 'nobody'",
    "build RUNS --published v2a-dpo": "has none of this board's metrics",
    "build RUNS --output x --formats mdx": "unknown board format 'mdx'",
    "diff RUNS/truth RUNS/mine --metric FD_levels": "unknown metric with a direction",
    "plot RUNS --output x --kind scatter": "--kind scatter: name its two metrics",
    "plot RUNS --output x --kind distribution": "no run has values a clip of AudioScore",
    "plot RUNS --output x --kind radar --metrics FD_levels": "three metrics or more",
}


def test_mistakes_are_told_in_one_line(v2abench: Run, two: Path) -> None:
    for line, told in MISTAKES.items():
        shown = v2abench("leaderboard", *(word.replace("RUNS", str(two)) for word in line.split()))
        assert shown.code == 2, line
        assert told in shown.err, line
    shown = v2abench("gallery", two, "--clips", f"@{two / 'nothing.txt'}")
    assert shown.code == 2
    assert "cannot be read as text" in shown.err
