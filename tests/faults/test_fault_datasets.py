"""Datasets that cannot be written, and long ones."""

import os
from pathlib import Path

import pytest

from v2abench.api import Options, evaluate
from v2abench.datasets import manifest as manifests
from v2abench.datasets.opening import open_dataset
from v2abench.protocols.schema import Protocol


def state(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        path.name: (path.stat().st_mtime_ns, path.stat().st_size) for path in [folder, *folder.rglob("*")]
    }


def test_nothing_is_written_beside_the_clips(
    videos: Path, generated: Path, protocol: Protocol, tmp_path: Path
) -> None:
    """Also as root, for whom no folder is read-only."""
    before = state(videos), state(generated)
    modes = {folder: folder.stat().st_mode for folder in (videos, generated)}
    try:
        for folder in modes:
            folder.chmod(0o555)
        run = evaluate(f"folder:{generated}", f"folder:{videos}", protocol, Options(output=tmp_path))
    finally:
        for folder, mode in modes.items():
            folder.chmod(mode)
    assert run.report.coverage.ok == 6
    assert (state(videos), state(generated)) == before


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl"])
def test_a_long_manifest_is_opened_without_a_look_at_its_files(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50 000 rows: the manifest itself is opened, and no file of it is asked for."""
    path = tmp_path / f"m{suffix}"
    if suffix == ".tsv":
        path.write_text("id\tvideo\tprompt\n" + "".join(f"{n}\tv/{n}.mp4\ta dog\n" for n in range(50_000)))
    else:
        path.write_text("".join(f'{{"id": "{n}", "video": "v/{n}.mp4"}}\n' for n in range(50_000)))
    asked = []
    for name in ("stat", "lstat", "open", "getcwd", "scandir", "readlink"):
        original = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *a, original=original, **k: (asked.append(a), original(*a, **k))[1]
        )
    clips = open_dataset(str(path)).clips
    assert len(clips) == 50_000
    assert clips[-1].video == tmp_path / "v/49999.mp4"
    assert len(asked) < 50


def test_every_row_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.tsv"
    path.write_text("video\n" + "".join(f"{n}.mp4\n" for n in range(300)))
    rows = []
    original = manifests._clip
    monkeypatch.setattr(manifests, "_clip", lambda *given: (rows.append(given[0]), original(*given))[1])
    open_dataset(str(path))
    assert len(rows) == 300
