"""A small MMAudio, opened on made videos."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from knocking import knocks
from small_mmaudio import shrink

from v2abench.baselines.mmaudio.model import MMAudio, open_small_16k
from v2abench.clips import Clip, Dataset
from v2abench.contracts import Request
from v2abench.features.extraction import Extractor
from v2abench.media.writing import write_video
from v2abench.models import GenerationOptions, ModelContext, clip_seed
from v2abench.protocols.schema import Window
from v2abench.weights.deterministic import weights_mode

Open = Callable[..., MMAudio]

SECONDS = 1.0


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    shrink(monkeypatch)
    with weights_mode("deterministic"):
        yield


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Three videos of a second, two of them with a prompt."""
    folder = tmp_path_factory.mktemp("seen")
    made = []
    for index, prompt in enumerate(("knocking on wood", None, "glass")):
        frames, audio = knocks(index)
        path = folder / f"{index}.mp4"
        write_video(path, frames[:26], Fraction(25), audio)
        made.append(Clip(str(index), path, path, prompt=prompt))
    return Dataset("seen", f"folder:{folder}", tuple(made))


@pytest.fixture
def open_model(small: None, clips: Dataset, cache: Path) -> Open:
    """Open the model with its conditions in this test's cache."""

    def opened(**options: object) -> MMAudio:
        extractor = Extractor(cache / "features", Window(seconds=SECONDS))
        chosen = GenerationOptions(**{"steps": 2, **options})  # type: ignore[arg-type]
        return open_small_16k("", ModelContext(clips, extractor=extractor, options=chosen))

    return opened


@pytest.fixture
def requests(clips: Dataset) -> list[Request]:
    return [Request(clip, SECONDS, clip_seed(0, clip.id)) for clip in clips.clips]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
