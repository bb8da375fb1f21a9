"""VGGish against the reference implementation's arrays (specs/audio_evaluators.md, 2.3), and its invariances.

`vggish.npz` holds what av-benchmark computes with the weights that `fill_` makes:
for `wave(10, 16000, seed)`, seeds 1 and 2, as a batch, and (`*_8s`) for `wave(8, 16000, 3)`.
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
from v2abench.errors import ClipFault
from v2abench.media.reading import AudioWindow
from v2abench.networks import vggish
from v2abench.networks.vggish import SAMPLE_RATE, VGGish, VGGishNet, load_network
from v2abench.selftest.goldens import golden

GOLDEN = golden("vggish")


def window(samples: NDArray[np.float32]) -> AudioWindow:
    return whole(samples, SAMPLE_RATE)


@pytest.fixture(scope="module")
def forward(tmp_path_factory: pytest.TempPathFactory) -> Forward:
    """The network with deterministic weights, loaded from a checkpoint of the official layout."""
    checkpoint = tmp_path_factory.mktemp("weights") / "vggish.pth"
    torch.save(fill_(VGGishNet()).state_dict(), checkpoint)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vggish, "require", {"vggish": checkpoint}.__getitem__)
        loaded = VGGish().load("cpu")
    checkpoint.unlink()
    return loaded


def test_the_entries_are_those_of_the_official_checkpoint() -> None:
    assert_official_entries(VGGishNet, "vggish")


def test_examples_are_those_of_the_reference() -> None:
    examples = VGGish().prepare(window(wave(10, SAMPLE_RATE, seed=1))).inputs["examples"]
    assert examples.dtype == np.float32
    assert examples.shape == (10, 96, 64)
    np.testing.assert_allclose(vggish._mel_bank(), GOLDEN["mel_basis"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(examples[[0, 4, 9]], GOLDEN["mel_crop"], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("suffix", "seconds", "seeds"), [("", 10, (1, 2)), ("_8s", 8, (3,))])
def test_features_are_those_of_the_reference(
    forward: Forward, suffix: str, seconds: float, seeds: tuple[int, ...]
) -> None:
    clips = forward([VGGish().prepare(window(wave(seconds, SAMPLE_RATE, seed))) for seed in seeds])
    embeddings = np.stack([clip["embedding"] for clip in clips])
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, GOLDEN["features" + suffix], rtol=0, atol=2e-5)


def test_values_do_not_depend_on_the_batch_or_the_threads(
    forward: Forward, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = [1, 3, 1, 2, 1, 5, 1, 2]
    clips = [VGGish().prepare(window(wave(length, SAMPLE_RATE, seed))) for seed, length in enumerate(lengths)]
    alone = [forward([clip])[0]["embedding"] for clip in clips]
    assert [len(embedding) for embedding in alone] == lengths
    assert np.ptp(np.concatenate(alone), axis=0).max() > 1e-3
    threes = [output["embedding"] for start in (0, 3, 6) for output in forward(clips[start : start + 3])]
    torch.set_num_threads(2)
    together = [output["embedding"] for output in forward(clips)]
    monkeypatch.setattr(vggish, "_EXAMPLES_PER_PASS", 3)
    in_parts = [output["embedding"] for output in forward(clips)]
    for outputs in (threes, together, in_parts):
        for embedding, expected in zip(outputs, alone, strict=True):
            np.testing.assert_allclose(embedding, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("samples", "examples"), [(15600, 1), (30959, 1), (30960, 2)])
def test_the_last_partial_example_is_dropped(samples: int, examples: int) -> None:
    silence = VGGish().prepare(window(np.zeros(samples, np.float32)))
    np.testing.assert_array_equal(
        silence.inputs["examples"], np.full((examples, 96, 64), np.log(0.01), np.float32)
    )
    assert silence.notes == ()


def test_a_shorter_clip_is_a_fault() -> None:
    with pytest.raises(ClipFault, match=r"too-short: vggish needs at least 15600 .* has 15599"):
        VGGish().prepare(window(np.zeros(15599, np.float32)))


def test_a_checkpoint_with_other_objects_is_refused(tmp_path: Path) -> None:
    torch.save({"features.0.weight": Path()}, tmp_path / "vggish.pth")
    with pytest.raises(pickle.UnpicklingError):
        load_network(tmp_path / "vggish.pth")


def test_a_checkpoint_must_have_every_entry(tmp_path: Path) -> None:
    entries = hollow(VGGishNet)
    del entries["embeddings.4.bias"]
    torch.save(entries, tmp_path / "x")
    with pytest.raises(RuntimeError, match=r"Missing key.*embeddings\.4\.bias"):
        load_network(tmp_path / "x")
