"""Cnn14 against the reference implementation's arrays (specs/audio_evaluators.md, 2.2), and its invariances.

`cnn14.npz` holds what av-benchmark computes with the weights that `fill_` makes:
for `wave(10, 16000, seed)`, seeds 1 and 2, as a batch, and (`*_8s`) for `wave(8, 16000, 3)`.
"""

import io
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from deterministic import fill_, wave
from evaluators import assert_official_entries, hollow, whole
from numpy.typing import NDArray

from v2abench.contracts import Forward
from v2abench.errors import ClipFault
from v2abench.media.reading import AudioWindow
from v2abench.networks import cnn14
from v2abench.networks.cnn14 import SAMPLE_RATE, Cnn14, Cnn14Net, load_network, log_mel
from v2abench.networks.mel import slaney_bank
from v2abench.selftest.goldens import golden

GOLDEN = golden("cnn14")


def window(samples: NDArray[np.float32]) -> AudioWindow:
    return whole(samples, SAMPLE_RATE)


def official(model: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """A checkpoint of the official layout: `sampler` holds NumPy arrays."""
    sampler = {"indexes_per_class": [np.arange(3), np.arange(2)], "queue": [1, 0], "pointers": [0, 2]}
    return {"iteration": 600000, "model": model, "sampler": sampler}


@pytest.fixture(scope="module")
def forward(tmp_path_factory: pytest.TempPathFactory) -> Forward:
    """The network with deterministic weights, loaded from a checkpoint of the official layout."""
    checkpoint = tmp_path_factory.mktemp("weights") / "cnn14.pth"
    torch.save(official(fill_(Cnn14Net()).state_dict()), checkpoint)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cnn14, "require", {"cnn14_16k": checkpoint}.__getitem__)
        loaded = Cnn14().load("cpu")
    checkpoint.unlink()
    return loaded


def test_the_entries_are_those_of_the_official_checkpoint() -> None:
    assert_official_entries(Cnn14Net, "cnn14")


def test_log_mel_is_that_of_the_reference() -> None:
    mel = log_mel(wave(10, SAMPLE_RATE, seed=1))
    assert mel.dtype == np.float32
    assert mel.shape == (1001, 64)
    np.testing.assert_allclose(
        slaney_bank(SAMPLE_RATE, 512, 64, 50, 8000), GOLDEN["mel_basis"], rtol=0, atol=1e-7
    )
    np.testing.assert_allclose(mel[::4], GOLDEN["mel_crop"], rtol=0, atol=2e-3)


@pytest.mark.parametrize(("suffix", "seconds", "seeds"), [("", 10, (1, 2)), ("_8s", 8, (3,))])
def test_features_are_those_of_the_reference(
    forward: Forward, suffix: str, seconds: float, seeds: tuple[int, ...]
) -> None:
    clips = forward([Cnn14().prepare(window(wave(seconds, SAMPLE_RATE, seed))) for seed in seeds])
    assert all(clip[name].dtype == np.float32 for clip in clips for name in Cnn14.features)
    for name, stored in (("embedding", "features"), ("logits", "logits")):
        np.testing.assert_allclose([clip[name] for clip in clips], GOLDEN[stored + suffix], rtol=0, atol=3e-5)


def test_values_do_not_depend_on_the_batch_or_the_threads(forward: Forward) -> None:
    lengths = [1.0, 2.0, 1.0, 1.5, 1.0, 2.0, 1.0, 0.31]
    clips = [
        Cnn14().prepare(window(wave(seconds, SAMPLE_RATE, seed))) for seed, seconds in enumerate(lengths)
    ]
    alone = [forward([clip])[0] for clip in clips]
    threes = [output for start in (0, 3, 6) for output in forward(clips[start : start + 3])]
    torch.set_num_threads(2)
    together = forward(clips)
    for name in Cnn14.features:
        expected = np.stack([output[name] for output in alone])
        assert np.ptp(expected, axis=0).max() > 1e-3
        for outputs in (threes, together):
            np.testing.assert_allclose([output[name] for output in outputs], expected, rtol=0, atol=5e-6)


def test_the_shortest_clip_still_gives_features(forward: Forward) -> None:
    silence = Cnn14().prepare(window(np.zeros(4960, np.float32)))
    np.testing.assert_array_equal(silence.inputs["mel"], np.full((32, 64), -100))
    (clip,) = forward([silence])
    assert np.isfinite(clip["logits"]).all()


def test_a_shorter_clip_is_a_fault() -> None:
    with pytest.raises(ClipFault, match=r"too-short: cnn14 needs at least 4960 .* has 4959"):
        Cnn14().prepare(window(np.zeros(4959, np.float32)))


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_a_checkpoint_of_2020_loads_under_both_of_numpys_names(tmp_path: Path, module: bytes) -> None:
    model = hollow(Cnn14Net)
    written = io.BytesIO()
    torch.save(official(model), written, _use_new_zipfile_serialization=False)
    data, count = re.subn(rb"numpy\._?core\.multiarray(?=\n_reconstruct\n)", module, written.getvalue())
    assert count == 1
    (tmp_path / "cnn14.pth").write_bytes(data)
    before = set(torch.serialization.get_safe_globals())
    assert load_network(tmp_path / "cnn14.pth").state_dict().keys() == model.keys()
    assert set(torch.serialization.get_safe_globals()) == before


def test_a_checkpoint_with_other_objects_is_refused(tmp_path: Path) -> None:
    torch.save({**official(hollow(Cnn14Net)), "iteration": Path()}, tmp_path / "cnn14.pth")
    with pytest.raises(pickle.UnpicklingError):
        load_network(tmp_path / "cnn14.pth")


def test_a_checkpoint_must_have_every_entry(tmp_path: Path) -> None:
    model = hollow(Cnn14Net)
    del model["bn0.running_var"]
    torch.save(official(model), tmp_path / "cnn14.pth")
    with pytest.raises(RuntimeError, match=r"Missing key.*bn0\.running_var"):
        load_network(tmp_path / "cnn14.pth")
