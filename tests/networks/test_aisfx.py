"""aiSFX against the reference implementation's arrays (specs/aisfx.md), and its invariances.

`goldens/aisfx.npz` holds what the official package computes, with the official
weights, for `wave(6.0, 44100, seed)`, seeds 1 and 2.
"""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from deterministic import wave
from numpy.typing import NDArray

from v2abench.contracts import Prepared
from v2abench.errors import UnknownNameError
from v2abench.media.audio import Audio
from v2abench.media.reading import AudioWindow
from v2abench.networks import aisfx
from v2abench.networks.aisfx import LABEL_SETS, SAMPLE_RATE, AiSFX, load_network, log_mel

GOLDEN = np.load(Path(__file__).parents[1] / "goldens" / "aisfx.npz")


def window(samples: NDArray[np.float32]) -> AudioWindow:
    return AudioWindow.of(Audio(samples[None], SAMPLE_RATE), seconds=8.0)


def prepare(seconds: float, seed: int) -> Prepared:
    return AiSFX().prepare(window(wave(seconds, SAMPLE_RATE, seed)))


@pytest.fixture
def deterministic(monkeypatch: pytest.MonkeyPatch, deterministic_checkpoint: Path) -> None:
    monkeypatch.setattr(aisfx, "require", {"aisfx": deterministic_checkpoint}.__getitem__)


@pytest.mark.parametrize("seed", [1, 2])
def test_log_mel_is_that_of_the_reference(seed: int) -> None:
    mel = log_mel(wave(6.0, SAMPLE_RATE, seed))
    assert mel.dtype == np.float32
    np.testing.assert_allclose(mel, GOLDEN[f"mel_{seed}"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("label_set", LABEL_SETS)
def test_every_head_is_that_of_the_reference(label_set: str, aisfx_checkpoint: Path) -> None:
    network = load_network(aisfx_checkpoint)
    mel = torch.from_numpy(GOLDEN["mel_1"])
    windows = torch.stack([mel[start : start + 100] for start in (0, 50, 100, 150)])
    embedding, logits = network(windows, label_set)
    np.testing.assert_allclose(embedding, GOLDEN["embedding_1"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(logits, GOLDEN[f"logits_{label_set}_1"], rtol=0, atol=1e-4)


def test_features_are_the_means_over_the_reference_windows(
    monkeypatch: pytest.MonkeyPatch, aisfx_checkpoint: Path
) -> None:
    monkeypatch.setattr(aisfx, "require", {"aisfx": aisfx_checkpoint}.__getitem__)
    samples = wave(6.0, SAMPLE_RATE, seed=2)[None]
    sound = AudioWindow(
        audio=Audio(samples, SAMPLE_RATE), seconds=6.0, file_mean=0.0, file_seconds=6.0, margin=samples[:, :0]
    )
    (clip,) = AiSFX().load("cpu")([AiSFX().prepare(sound)])
    assert clip["embedding"].shape == (512,)
    assert clip["embedding"].dtype == clip["logits"].dtype == np.float32
    np.testing.assert_allclose(clip["embedding"], GOLDEN["embedding_2"].mean(axis=0), rtol=0, atol=1e-4)
    np.testing.assert_allclose(
        clip["logits"], GOLDEN["logits_soundlyTrain_2"].mean(axis=0), rtol=0, atol=1e-4
    )


@pytest.mark.usefixtures("deterministic")
def test_deterministic_weights_give_the_pinned_values() -> None:
    (clip,) = AiSFX().load("cpu")([prepare(3.0, seed=1)])
    np.testing.assert_allclose(
        clip["embedding"][:4], [0.0092155, 0.0571873, 0.0546116, 0.0064266], rtol=0, atol=1e-5
    )
    np.testing.assert_allclose(
        clip["logits"][:4], [0.0905205, -0.0321049, -0.0180115, -0.1162215], rtol=0, atol=1e-5
    )


@pytest.mark.usefixtures("deterministic")
def test_values_do_not_depend_on_the_batch_or_the_threads() -> None:
    forward = AiSFX().load("cpu")
    clips = [prepare(seconds, seed) for seed, seconds in enumerate([2.0, 3.6, 2.5, 1.0, 5.0, 2.5, 2.5, 2.5])]
    alone = [forward([clip])[0] for clip in clips]
    threes = [output for start in (0, 3, 6) for output in forward(clips[start : start + 3])]
    torch.set_num_threads(2)
    together = forward(clips)
    for name in AiSFX.features:
        expected = np.stack([output[name] for output in alone])
        assert np.ptp(expected, axis=0).max() > 1e-3
        for outputs in (threes, together):
            np.testing.assert_allclose([output[name] for output in outputs], expected, rtol=0, atol=1e-5)


def test_a_clip_shorter_than_a_window_is_padded_and_says_so() -> None:
    short = prepare(1.0, seed=1)
    assert short.notes == ("padded to one window of 2.3 s",)
    assert short.inputs["windows"].shape == (1, 100, 96)
    assert not short.inputs["windows"][0, 45:].any()


def test_whole_windows_are_taken_every_50_frames() -> None:
    samples = wave(8.0, SAMPLE_RATE, seed=1)
    whole = AiSFX().prepare(window(samples))
    assert whole.notes == ()
    assert whole.inputs["windows"].shape == (5, 100, 96)
    np.testing.assert_array_equal(whole.inputs["windows"][1, :50], whole.inputs["windows"][0, 50:])


def test_an_unknown_label_set_is_told_with_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'soundlyTrain'"):
        AiSFX(label_set="soundly")


def test_a_checkpoint_with_other_objects_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save(({}, Path), path)
    with pytest.raises(pickle.UnpicklingError):
        load_network(path)


def test_loading_leaves_no_global_allowed(deterministic_checkpoint: Path) -> None:
    before = list(torch.serialization.get_safe_globals())
    load_network(deterministic_checkpoint)
    assert torch.serialization.get_safe_globals() == before


def test_a_checkpoint_must_have_every_entry(tmp_path: Path, deterministic_checkpoint: Path) -> None:
    state, labels = torch.load(deterministic_checkpoint, weights_only=True)
    del state["fc.1.4.bias"]
    torch.save((state, labels), tmp_path / "checkpoint.pth")
    with pytest.raises(RuntimeError, match=r"fc\.1\.4\.bias"):
        load_network(tmp_path / "checkpoint.pth")
