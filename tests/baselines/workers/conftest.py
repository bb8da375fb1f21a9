"""Models in other processes: a stand-in worker, and datasets whose prompts tell it what to do."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from worker_processes import Ask

from v2abench.baselines.workers.cards import Card
from v2abench.baselines.workers.opening import open_card
from v2abench.clips import Clip, Dataset
from v2abench.contracts import Generated, Request
from v2abench.features.extraction import Extractor
from v2abench.models import ModelContext, clip_seed
from v2abench.protocols.schema import Window

STAND_IN = Path(__file__).with_name("stand_in.py")


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """Where the stand-in leaves word of what it did."""
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


@pytest.fixture
def stand_in(marks: Path) -> Callable[..., Card]:
    """Make the card of a stand-in worker that starts in a given mode."""

    def make(mode: str = "well", clip: float = 200.0, start: float = 200.0, load: float = 200.0) -> Card:
        return Card.model_validate(
            {
                "name": "stand-in",
                "kind": "worker",
                "title": "Stand-in",
                "summary": "A worker for tests",
                "command": [sys.executable, str(STAND_IN), mode, str(marks)],
                "options": {"steps": {"default": 5, "help": "Steps"}},
                "timeouts": {"start": start, "load": load, "clip": clip},
            }
        )

    return make


@pytest.fixture
def dataset(videos: Path) -> Dataset:
    clips = tuple(Clip(path.stem, path, path) for path in sorted(videos.iterdir()))
    return Dataset("videos", "folder", clips)


@pytest.fixture
def context(dataset: Dataset, tmp_path: Path) -> ModelContext:
    return ModelContext(dataset, extractor=Extractor(tmp_path / "features", Window(seconds=1.0)))


@pytest.fixture
def ask(context: ModelContext, dataset: Dataset) -> Ask:
    """Ask a model for the sound of one clip a prompt, in order."""

    def run(card: Card, *prompts: str | None, argument: str = "", seed: int = 0) -> dict[str, Generated]:
        clips = [
            Clip(f"{number}", dataset.clips[number % 6].video, prompt=prompt)
            for number, prompt in enumerate(prompts)
        ]
        requests = [Request(clip, 1.0, clip_seed(seed, clip.id)) for clip in clips]
        found = list(open_card(card, argument, context).generate(requests))
        assert [answer.clip_id for answer in found] == [clip.id for clip in clips]
        return {answer.clip_id: answer for answer in found}

    return run


@pytest.fixture
def starts(marks: Path) -> Callable[[], list[int]]:
    """The process ids of the stand-in, one a start."""

    def read() -> list[int]:
        path = marks / "starts"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    return read


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
