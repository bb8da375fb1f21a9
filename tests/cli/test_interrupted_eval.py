"""Ctrl-C at every stage of `eval`: exit code 130, no traceback, and the next run is an unbroken one's."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from v2abench.features.store import Store
from v2abench.impacts import rendering
from v2abench.metrics.frechet import FrechetDistance
from v2abench.runs import evaluation, generation, writing

STAGES = {
    "hashing": (evaluation, "hash_contents", 0),
    "generating": (generation, "write_audio", 1),
    "noting": (generation, "write_text", 0),
    "extracting": (Store, "write", 1),
    "judging": (evaluation, "judge", 0),
    "scoring": (FrechetDistance, "compute", 0),
    "writing clips": (writing, "clips_table", 0),
    "writing inputs": (writing, "write_inputs", 0),
    "writing the report": (writing, "write_report", 0),
}
"""What is interrupted, and how often it was called before."""

Run = Callable[..., Any]
_whole: dict[str, bytes] = {}


@pytest.fixture
def run(v2abench: Callable[..., Any], protocol_file: Path, videos: Path) -> Run:
    def evaluate(folder: Path, *dataset: object) -> Any:
        return v2abench(
            *("eval", "--model", "noise", "--dataset", *(dataset or [f"folder:{videos}"])),
            *("--protocol", protocol_file, "--output", folder, "--workers", "0", "--batch-size", "2"),
        )

    return evaluate


@pytest.fixture
def whole(
    run: Run, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> dict[str, bytes]:
    """What an unbroken run writes, in a cache of its own."""
    if not _whole:
        with monkeypatch.context() as patch:
            patch.setenv("V2ABENCH_HOME", str(tmp_path_factory.mktemp("other")))
            folder = tmp_path_factory.mktemp("whole")
            assert run(folder).code == 0
        _whole.update(written(folder))
    return _whole


def written(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in folder.rglob("*")
        if path.name in {"report.json", "clips.parquet"} or path.suffix == ".flac"
    }


def interrupt(patch: pytest.MonkeyPatch, place: Any, name: str, before: int) -> None:
    original, calls = getattr(place, name), iter(range(10_000))

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == before:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    patch.setattr(place, name, interrupted)


def assert_told(shown: Any) -> None:
    assert shown.code == 130
    assert "interrupted; the same command goes on where this one stopped" in shown.err
    assert "Traceback" not in shown.err


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_at_every_stage(
    stage: str, run: Run, tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, *STAGES[stage])
        assert_told(run(tmp_path))
    assert "report.json" not in written(tmp_path)
    assert run(tmp_path).code == 0
    assert written(tmp_path) == whole


def test_ctrl_c_while_clips_are_rendered(
    run: Run, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, rendering, "write_audio", 1)
        assert_told(run(tmp_path / "runs", "impacts", "--limit", "1"))
    first, second = run(tmp_path / "runs", "impacts", "--limit", "1"), written(tmp_path / "runs")
    assert first.code == 0
    monkeypatch.setenv("V2ABENCH_HOME", str(tmp_path / "other"))
    assert run(tmp_path / "unbroken", "impacts", "--limit", "1").code == 0
    assert written(tmp_path / "unbroken") == second
    rendered = [sorted((home / "impacts").rglob("*.[mf]*")) for home in (cache, tmp_path / "other")]
    for path, other in zip(*rendered, strict=True):
        assert path.read_bytes() == other.read_bytes()


def test_a_real_ctrl_c_reaches_the_workers_too(videos: Path, protocol_file: Path, tmp_path: Path) -> None:
    """A terminal sends SIGINT to all processes of a command, those that decode among them."""
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heard}\nfrom v2abench.cli import main\nif __name__ == '__main__':\n    main()\n"
    (tmp_path / "command.py").write_text(code)
    many = tmp_path / "many"
    many.mkdir()
    for number in range(40):
        # The content makes the clip: a few bytes behind the last box are a content of their own.
        (many / f"{number}.mp4").write_bytes((videos / "c.mp4").read_bytes() + bytes([number]) * 9)
    line = [sys.executable, str(tmp_path / "command.py"), "eval", "--model", "noise"]
    line += ["--dataset", f"folder:{many}", "--protocol", str(protocol_file), "--workers", "2"]
    line += ["--output", str(tmp_path / "runs"), "--batch-size", "1"]
    process = subprocess.Popen(
        line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        features = Path(os.environ["V2ABENCH_HOME"]) / "features"
        deadline = time.monotonic() + 240
        while not list(features.rglob("part-*")) and time.monotonic() < deadline:
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGINT)
        _, messages = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert process.returncode == 130, messages
    assert "Traceback" not in messages
    assert "interrupted" in messages
