"""A decoding process that is killed is told clearly, and the next run ends as if nothing had been."""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from level_network import LevelNetwork

from v2abench.contracts import Array, Forward, Prepared
from v2abench.errors import V2ABenchError
from v2abench.features.contents import hash_contents
from v2abench.features.extraction import Content, Extractor
from v2abench.media.audio import Audio
from v2abench.media.writing import write_audio
from v2abench.protocols.schema import Window


@dataclass(frozen=True)
class Deadly(LevelNetwork):
    """A network whose `prepare` is killed, as by the kernel for its memory, on the loudest clip.

    Once only: what it leaves at `mark` says that it was.
    """

    mark: Path
    name: str = "deadly"

    def prepare(self, media: Any) -> Prepared:
        level = np.float64(np.abs(media.audio.samples).max())
        if level > 0.85 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Prepared({"level": level})

    def load(self, device: str) -> Forward:
        return lambda batch: [{"level": np.atleast_1d(clip.inputs["level"])} for clip in batch]


@pytest.fixture
def contents(tmp_path: Path) -> list[Content]:
    """Eight sounds, louder and louder."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.wav" for number in range(8)]
    for number, path in enumerate(paths):
        noise = rng.uniform(-1, 1, (1, 8000)).astype(np.float32)
        write_audio(path, Audio(noise / np.abs(noise).max() * (0.2 + 0.1 * number), 16000))
    return [content for content in hash_contents(paths).values() if isinstance(content, Content)]


def levels(extractor: Extractor, network: Deadly, contents: Sequence[Content]) -> list[Array]:
    keys = [extractor.key(content.hash) for content in contents]
    stored = extractor.store(network).read(keys)
    return [stored[key].features["level"] for key in keys]


def test_a_killed_worker_is_told_and_the_next_run_is_whole(tmp_path: Path, contents: list[Content]) -> None:
    network = Deadly(tmp_path / "mark")
    two = Extractor(tmp_path / "two", Window(seconds=0.5), workers=2, batch_size=2)
    with pytest.raises(V2ABenchError, match=r"a process that decodes died: .*use fewer workers"):
        two.extract({network: contents}, "read")
    assert (tmp_path / "mark").exists()
    two.extract({network: contents}, "read")
    alone = Extractor(tmp_path / "alone", Window(seconds=0.5))
    alone.extract({network: contents}, "read")
    np.testing.assert_array_equal(levels(two, network, contents), levels(alone, network, contents))
