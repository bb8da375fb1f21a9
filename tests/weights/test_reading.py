"""Pickled checkpoints give tensors and NumPy's numbers, and run nothing."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from v2abench.weights.reading import read_pickle


def test_numbers_of_numpy_stand_beside_weights(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    torch.save(
        {"epoch": np.int64(3), "loss": np.float64(0.5), "order": np.arange(3), "w": torch.ones(2)}, path
    )
    found = read_pickle(path)
    assert (found["epoch"], found["loss"]) == (3, 0.5)
    np.testing.assert_array_equal(found["order"], [0, 1, 2])
    assert torch.equal(found["w"], torch.ones(2))


def test_anything_else_is_refused_and_nothing_stays_allowed(tmp_path: Path) -> None:
    before = list(torch.serialization.get_safe_globals())
    torch.save({"path": Path()}, tmp_path / "other.pt")
    with pytest.raises(pickle.UnpicklingError):
        read_pickle(tmp_path / "other.pt")
    assert torch.serialization.get_safe_globals() == before
