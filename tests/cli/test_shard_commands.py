"""`--shard` and `--merge` on the command line: what is told, and that it ends with a report."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def evaluating(videos: Path, protocol_file: Path, tmp_path: Path) -> list[str]:
    line = ["eval", "--model", "noise", "--dataset", f"folder:{videos}", "--protocol", str(protocol_file)]
    return [
        *line,
        "--output",
        str(tmp_path / "runs"),
        "--workers",
        "0",
        "--device",
        "cpu",
        "--bootstrap",
        "0",
    ]


def test_shards_are_evaluated_and_merged(v2abench: Callable, evaluating: list[str], tmp_path: Path) -> None:
    for index in (1, 2):
        shown = v2abench(*evaluating, "--shard", f"{index}/2")
        assert shown.code == 0
        assert f"shard {index}/2 is done; once all are, the same command with --merge" in shown.err
        assert not list(tmp_path.rglob("report.json"))
    shown = v2abench(*evaluating, "--merge")
    assert shown.code == 0
    assert "6 of 6 clips ok" in shown.out
    assert len(list(tmp_path.rglob("report.json"))) == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--shard", "5/3"], "--shard 5/3: of 3 shards give one from 1 to 3"),
        (["--merge"], "--merge: no shard has ended"),
        (["--shard", "1/2", "--merge"], "--shard goes without --merge"),
        (["--shard", "1/2", "--strict"], "--shard goes without --merge and --strict"),
        (["--ray-address", "auto"], "go with --engine ray"),
    ],
)
def test_what_cannot_be_is_one_line(
    v2abench: Callable, evaluating: list[str], more: list[str], message: str
) -> None:
    shown = v2abench(*evaluating, *more)
    assert shown.code == 2
    assert message in shown.err
    assert "Traceback" not in shown.err


def test_sounds_are_generated_in_shards(v2abench: Callable, videos: Path, tmp_path: Path) -> None:
    line = ["generate", "--model", "noise", "--dataset", f"folder:{videos}", "--out", str(tmp_path / "out")]
    shown = v2abench(*line, "--shard", "2/2", "--workers", "0", "--strict")
    assert shown.code == 0
    assert "3 of 3 clips ok" in shown.out
    assert "the same command without --shard writes the ledger" in shown.err
    assert len(list((tmp_path / "out").glob("*.flac"))) == 3
