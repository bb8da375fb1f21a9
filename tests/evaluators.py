"""What the tests of the papers' audio networks share: whole sounds, and the entries of checkpoints."""

import re
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from parity import GOLDENS
from torch import Tensor, nn

from v2abench.media.audio import Audio
from v2abench.media.reading import AudioWindow


def whole(samples: NDArray[np.float32], rate: int) -> AudioWindow:
    """All of `samples`, of which no mean is taken: the goldens' networks are fed directly."""
    return AudioWindow.of(Audio(samples[None], rate), len(samples) / rate, file_mean=0.0)


def hollow(build: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """All entries of a network, each a view of one number, so that a file of them is small."""
    with torch.device("meta"):
        entries = build().state_dict()
    return {name: torch.zeros((), dtype=entry.dtype).expand(entry.shape) for name, entry in entries.items()}


def assert_official_entries(build: Callable[[], nn.Module], name: str) -> None:
    """Names, shapes and dtypes are those of the official checkpoint (`goldens/<name>.keys.tsv`)."""
    rows = [line.split("\t") for line in (GOLDENS / f"{name}.keys.tsv").read_text().splitlines()[1:]]
    with torch.device("meta"):
        entries = build().state_dict()
    assert {name: (tuple(entry.shape), str(entry.dtype)) for name, entry in entries.items()} == {
        name: (tuple(map(int, re.findall(r"\d+", shape))), f"torch.{dtype}") for name, shape, dtype, _ in rows
    }
