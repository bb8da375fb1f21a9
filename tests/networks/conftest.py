"""The aiSFX checkpoints: the official one, and one with deterministic weights."""

import os
from pathlib import Path

import pytest
import torch
from deterministic import fill_

from v2abench.networks.aisfx import AiSFXNet
from v2abench.weights.registry import WeightsUnavailableError, require


@pytest.fixture(scope="session")
def aisfx_checkpoint() -> Path:
    """The official weights. Tests that need them are skipped where they cannot be had, except in CI."""
    try:
        return require("aisfx")
    except WeightsUnavailableError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def deterministic_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the official layout that needs no download."""
    path = tmp_path_factory.mktemp("weights") / "checkpoint.pth"
    torch.save((fill_(AiSFXNet()).state_dict(), {}), path)
    return path
