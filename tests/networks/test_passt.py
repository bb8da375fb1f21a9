"""PaSST against the reference implementation's arrays (specs/audio_evaluators.md, 2.1), and its invariances.

`passt.npz` holds what hear21passt computes with the weights that `fill_` makes:
for `wave(10, 32000, seed)`, seeds 1 and 2, as a batch, and (`*_8s`) for `wave(8, 32000, 3)`,
followed by 2 s of zeros.
"""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from deterministic import fill_, wave
from evaluators import assert_official_entries, hollow, whole
from numpy.typing import NDArray

from v2abench.contracts import Forward
from v2abench.errors import V2ABenchError
from v2abench.media.reading import AudioWindow
from v2abench.networks import passt
from v2abench.networks.passt import SAMPLE_RATE, PaSST, PaSSTNet, load_network, log_mel
from v2abench.selftest.goldens import golden

GOLDEN = golden("passt")


def window(samples: NDArray[np.float32]) -> AudioWindow:
    return whole(samples, SAMPLE_RATE)


@pytest.fixture(scope="module")
def forward(tmp_path_factory: pytest.TempPathFactory) -> Forward:
    """The network with deterministic weights, loaded from a checkpoint of the official layout."""
    checkpoint = tmp_path_factory.mktemp("weights") / "passt.pt"
    torch.save(fill_(PaSSTNet()).state_dict(), checkpoint)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passt, "require", {"passt": checkpoint}.__getitem__)
        loaded = PaSST().load("cpu")
    checkpoint.unlink()
    return loaded


def test_the_entries_are_those_of_the_official_checkpoint() -> None:
    assert_official_entries(PaSSTNet, "passt")


def test_log_mel_is_that_of_the_reference() -> None:
    mel = log_mel(wave(10, SAMPLE_RATE, seed=1))
    assert mel.dtype == np.float32
    assert mel.shape == (128, 1000)
    np.testing.assert_allclose(passt._mel_bank(), GOLDEN["mel_basis"], rtol=0, atol=5e-5)
    np.testing.assert_allclose(mel[:, ::4], GOLDEN["mel_crop"], rtol=0, atol=1e-4)


def test_a_batch_gives_the_features_of_the_reference(forward: Forward) -> None:
    clips = forward([PaSST().prepare(window(wave(10, SAMPLE_RATE, seed))) for seed in (1, 2)])
    assert all(clip[name].dtype == np.float32 for clip in clips for name in PaSST.features)
    np.testing.assert_allclose([clip["embedding"] for clip in clips], GOLDEN["features"], rtol=0, atol=4e-5)
    np.testing.assert_allclose([clip["logits"] for clip in clips], GOLDEN["logits"], rtol=0, atol=5e-6)


def test_eight_seconds_are_followed_by_zeros_without_a_note(forward: Forward) -> None:
    prepared = PaSST().prepare(window(wave(8, SAMPLE_RATE, seed=3)))
    assert prepared.notes == ()
    (clip,) = forward([prepared])
    np.testing.assert_allclose(clip["embedding"], GOLDEN["features_8s"][0], rtol=0, atol=4e-5)
    np.testing.assert_allclose(clip["logits"], GOLDEN["logits_8s"][0], rtol=0, atol=5e-6)


def test_a_longer_clip_is_cut() -> None:
    samples = wave(3, SAMPLE_RATE, seed=1)
    mel = PaSST(pad_seconds=2.0).prepare(window(samples)).inputs["mel"]
    assert mel.shape == (128, 200)
    np.testing.assert_array_equal(mel, log_mel(samples[: 2 * SAMPLE_RATE]))


def test_values_do_not_depend_on_the_batch_or_the_threads(forward: Forward) -> None:
    clips = [PaSST(pad_seconds=0.5).prepare(window(wave(0.5, SAMPLE_RATE, seed))) for seed in range(8)]
    alone = [forward([clip])[0] for clip in clips]
    threes = [output for start in (0, 3, 6) for output in forward(clips[start : start + 3])]
    torch.set_num_threads(2)
    together = forward(clips)
    for name in PaSST.features:
        expected = np.stack([output[name] for output in alone])
        assert np.ptp(expected, axis=0).max() > 1e-3
        for outputs in (threes, together):
            np.testing.assert_allclose([output[name] for output in outputs], expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("seconds", "patches"), [(0.16, 1), (10.0, 99)])
def test_the_shortest_and_the_longest_input_fit_the_network(seconds: float, patches: int) -> None:
    mel = PaSST(pad_seconds=seconds).prepare(window(np.zeros(1, np.float32))).inputs["mel"]
    np.testing.assert_allclose(mel, (np.log(1e-5) + 4.5) / 5, rtol=1e-6)
    with torch.device("meta"):
        grid = PaSSTNet().patch_embed["proj"](torch.empty(1, 1, *mel.shape))
    assert grid.shape == (1, 768, 12, patches)


@pytest.mark.parametrize("seconds", [0.1, 10.1, float("nan")])
def test_seconds_that_the_network_cannot_hear_are_refused(seconds: float) -> None:
    with pytest.raises(V2ABenchError, match=r"pad_seconds is .*takes 0\.16 to 10 s"):
        PaSST(pad_seconds=seconds)


def test_the_seconds_stand_in_the_parameters() -> None:
    assert PaSST().parameters == {"pad_seconds": 10.0}
    assert isinstance(PaSST(pad_seconds=10).parameters["pad_seconds"], float)


def test_a_checkpoint_with_other_objects_is_refused(tmp_path: Path) -> None:
    torch.save({"cls_token": Path()}, tmp_path / "passt.pt")
    with pytest.raises(pickle.UnpicklingError):
        load_network(tmp_path / "passt.pt")


def test_a_checkpoint_must_have_every_entry(tmp_path: Path) -> None:
    entries = hollow(PaSSTNet)
    del entries["head_dist.bias"]
    torch.save(entries, tmp_path / "x")
    with pytest.raises(RuntimeError, match=r"Missing key.*head_dist\.bias"):
        load_network(tmp_path / "x")
