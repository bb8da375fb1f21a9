"""An aiSFX checkpoint with deterministic weights; the official one is a fixture of all tests."""

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
