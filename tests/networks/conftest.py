"""One thread, and an aiSFX checkpoint with deterministic weights; all tests have the official one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from deterministic import fill_

from v2abench.networks.aisfx import AiSFXNet


@pytest.fixture(scope="session")
def deterministic_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the official layout that needs no download."""
    path = tmp_path_factory.mktemp("weights") / "checkpoint.pth"
    torch.save((fill_(AiSFXNet()).state_dict(), {}), path)
    return path


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Values are compared tightly, so the number of threads is the same on every machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
