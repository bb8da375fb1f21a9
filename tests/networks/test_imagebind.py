"""ImageBind against the reference implementation (`imagebind.npz`).

The goldens are av-benchmark's results with the weights of `fill_`, for the released
model ("full") and for a small one of the same make.
"""

import json
import pickle
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from deterministic import fill_, frames, values, wave
from numpy.typing import NDArray

from v2abench.contracts import Network, Prepared
from v2abench.errors import ClipFault
from v2abench.media.audio import Audio
from v2abench.media.reading import AudioWindow
from v2abench.networks import imagebind
from v2abench.networks.imagebind import (
    AUDIO,
    VISION,
    ImageBindAudio,
    ImageBindVideo,
    Tower,
    TowerSize,
    audio_tower,
    load_tower,
    vision_tower,
)
from v2abench.networks.imagebind_inputs import SAMPLE_RATE, normalise_views
from v2abench.selftest.goldens import golden

GOLDENS = Path(__file__).parents[1] / "goldens"
GOLDEN = golden("imagebind")
SMALL_VISION = TowerSize(width=80, blocks=2, heads=4, embedding=64)
SMALL_AUDIO = TowerSize(width=48, blocks=2, heads=4, embedding=64)
OTHERS = {
    "modality_trunks.depth.blocks.0.norm_1.weight": torch.ones(384),
    "modality_preprocessors.text.mask": torch.zeros(77, 77),
}
TOWERS = pytest.mark.parametrize(
    ("make", "size"), [(vision_tower, VISION), (audio_tower, AUDIO)], ids=["vision", "audio"]
)


@pytest.fixture(scope="module")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the small model, with entries of other modalities."""
    towers = [fill_(vision_tower(SMALL_VISION)), fill_(audio_tower(SMALL_AUDIO))]
    path = tmp_path_factory.mktemp("weights") / "imagebind.pth"
    torch.save({**towers[0].state_dict(), **towers[1].state_dict(), **OTHERS}, path)
    return path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, small_checkpoint: Path) -> None:
    monkeypatch.setattr(imagebind, "require", {"imagebind": small_checkpoint}.__getitem__)
    monkeypatch.setattr(imagebind, "VISION", SMALL_VISION)
    monkeypatch.setattr(imagebind, "AUDIO", SMALL_AUDIO)


def sound(*waveforms: NDArray[np.float32], rate: int = SAMPLE_RATE, seconds: float = 8.0) -> AudioWindow:
    return AudioWindow.of(Audio(np.stack(waveforms), rate), seconds)


def heard(seconds: float = 8.0, seed: int = 0) -> Prepared:
    return ImageBindAudio().prepare(sound(wave(seconds, SAMPLE_RATE, seed)))


def watched(count: int = 4, seed: int = 0) -> Prepared:
    """The views of the goldens' video: at 0.5 fps a source of 25 fps gives frames 24, 74, ..."""
    chosen = frames(50 * count - 25, 320, seed)[24::50, :, 40:280].transpose(0, 2, 3, 1)
    scale = ImageBindVideo.frames.transform
    assert scale is not None
    return ImageBindVideo().prepare(np.stack([scale(frame) for frame in chosen]))


def assert_tokens(actual: torch.Tensor, golden: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(actual, golden, rtol=0, atol=1e-4)


def assert_embedding(actual: NDArray[np.float32] | torch.Tensor, golden: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(actual, golden, rtol=1e-4, atol=2e-5)


@TOWERS
def test_entries_are_those_of_the_official_checkpoint(
    make: Callable[[TowerSize], Tower], size: TowerSize
) -> None:
    with torch.device("meta"):
        tower = make(size)
    found = {
        name: ("x".join(map(str, tensor.shape)) or "scalar", kind)
        for kind, entries in (("param", tower.named_parameters()), ("buffer", tower.named_buffers()))
        for name, tensor in entries
    }
    rows = [row.split("\t") for row in (GOLDENS / "imagebind.keys.tsv").read_text().splitlines()[1:]]
    assert found == {name: (shape, kind) for name, shape, _, kind in rows if f".{tower.modality}." in name}


@torch.inference_mode()
def test_every_step_of_the_small_vision_tower_is_that_of_the_reference() -> None:
    tower = fill_(vision_tower(SMALL_VISION)).eval()
    views = normalise_views(torch.from_numpy(watched().inputs["views"]))
    tokens = tower.modality_preprocessors["vision"](views[:1])
    assert tokens.shape == (1, 257, 80)
    assert_tokens(tokens[0, :6], GOLDEN["small_vision_tokens_head"])
    assert_tokens(tower.modality_trunks["vision"](tokens)[0, :6], GOLDEN["small_vision_trunk_head"])
    assert_embedding(tower(views), GOLDEN["small_vision_per_clip"])


@torch.inference_mode()
def test_every_step_of_the_small_audio_tower_is_that_of_the_reference() -> None:
    tower = fill_(audio_tower(SMALL_AUDIO)).eval()
    views = torch.from_numpy(heard().inputs["views"])
    tokens = tower.modality_preprocessors["audio"](views[:1])
    assert tokens.shape == (1, 229, 48)
    assert_tokens(tokens[0, :6], GOLDEN["small_audio_tokens_head"])
    assert_tokens(tokens[0, -3:], GOLDEN["small_audio_tokens_tail"])
    assert_tokens(tower.modality_trunks["audio"](tokens)[0, :6], GOLDEN["small_audio_trunk_head"])
    assert_embedding(tower(views), GOLDEN["small_audio_per_clip"])


@pytest.mark.usefixtures("small")
def test_features_and_their_cosine_are_those_of_the_reference() -> None:
    (seen,) = ImageBindVideo().load("cpu")([watched()])
    (listened,) = ImageBindAudio().load("cpu")([heard()])
    video, audio = seen["embedding"], listened["embedding"]
    assert video.dtype == audio.dtype == np.float32
    assert_embedding(video, GOLDEN["small_vision"])
    assert_embedding(audio, GOLDEN["small_audio"])
    cosine = video @ audio / np.linalg.norm(video) / np.linalg.norm(audio)
    assert cosine == pytest.approx(GOLDEN["small_ib_score"], abs=2e-5)


@torch.inference_mode()
def test_the_full_vision_tower_is_that_of_the_reference() -> None:
    with torch.device("meta"):
        tower = vision_tower(VISION).eval()
    filled = {name: values(name, tuple(entry.shape)) for name, entry in tower.state_dict().items()}
    tower.load_state_dict(filled, assign=True)
    views = watched().inputs["views"][[0, 4]]
    assert_embedding(tower(normalise_views(torch.from_numpy(views))), GOLDEN["full_vision_per_clip"])


def test_the_full_audio_network_is_that_of_the_reference_in_every_batch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "imagebind.pth"
    torch.save({**fill_(audio_tower(AUDIO)).state_dict(), **OTHERS}, checkpoint)
    monkeypatch.setattr(imagebind, "require", {"imagebind": checkpoint}.__getitem__)
    forward = ImageBindAudio().load("cpu")
    checkpoint.unlink()
    clips = [heard(), heard(seconds=5.0, seed=1), heard(seconds=1.5, seed=2)]
    alone = [forward([clip])[0]["embedding"] for clip in clips]
    together = [clip["embedding"] for clip in forward(clips)]
    assert alone[0].shape == (1024,)
    assert_embedding(alone[0], GOLDEN["full_audio"])
    assert np.ptp(alone, axis=0).max() > 1e-3
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("small")
def test_videos_of_different_length_share_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = ImageBindVideo().load("cpu")
    clips = [watched(count=2, seed=1), watched(), watched(count=3, seed=2)]
    assert [len(clip.inputs["views"]) for clip in clips] == [3, 9, 6]
    alone = [forward([clip])[0]["embedding"] for clip in clips]
    assert np.ptp(alone, axis=0).max() > 1e-3
    for views_per_pass in (4, 32):
        monkeypatch.setattr(imagebind, "_VIEWS_PER_PASS", views_per_pass)
        together = [clip["embedding"] for clip in forward(clips)]
        np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)


def test_the_logit_scale_ends_at_100() -> None:
    tower = fill_(audio_tower(SMALL_AUDIO)).eval()
    entry = "modality_postprocessors.audio.1.log_logit_scale"
    tower.load_state_dict({entry: torch.tensor(9.0)}, strict=False)
    with torch.inference_mode():
        lengths = tower(torch.from_numpy(heard().inputs["views"])).norm(dim=1)
    np.testing.assert_allclose(lengths, 100, rtol=1e-5)


@pytest.mark.parametrize(
    ("lost", "added"), [("modality_heads.audio.2.weight", {}), (None, {"modality_heads.audio.3.bias": 0})]
)
def test_the_entries_of_its_own_modality_must_be_exact(
    lost: str | None, added: dict[str, int], small_checkpoint: Path, tmp_path: Path
) -> None:
    state = torch.load(small_checkpoint, weights_only=True)
    changed = {name: entry for name, entry in state.items() if name != lost}
    changed |= {name: torch.tensor(entry) for name, entry in added.items()}
    torch.save(changed, tmp_path / "changed.pth")
    load_tower(vision_tower, SMALL_VISION, tmp_path / "changed.pth")
    with pytest.raises(RuntimeError, match=r"modality_heads\.audio\.[23]"):
        load_tower(audio_tower, SMALL_AUDIO, tmp_path / "changed.pth")


def test_a_checkpoint_of_torchs_old_format_loads(small_checkpoint: Path, tmp_path: Path) -> None:
    state = torch.load(small_checkpoint, weights_only=True)
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    old = load_tower(audio_tower, SMALL_AUDIO, tmp_path / "old.pth").state_dict()
    assert all(torch.equal(entry, state[name]) for name, entry in old.items())


def test_one_frame_is_too_short() -> None:
    with pytest.raises(ClipFault, match=r"^too-short: .*2 frames.*has 1"):
        ImageBindVideo().prepare(np.zeros((1, 224, 298, 3), np.uint8))


def test_a_sound_below_one_spectrogram_frame_is_too_short() -> None:
    assert heard(seconds=0.025).inputs["views"].shape == (3, 128, 204)
    with pytest.raises(ClipFault, match=r"^too-short: .*25 ms"):
        heard(seconds=0.0249)


def test_a_sound_below_one_view_is_padded_and_says_so() -> None:
    assert heard(seconds=1.99).notes == ("padded to one view of 2 s",)
    assert heard(seconds=2.0).notes == ()


def test_the_views_are_those_of_the_window_in_all_channels() -> None:
    left, right = wave(10.0, 44100), wave(10.0, 44100, seed=1) + np.float32(0.2)
    whole = ImageBindAudio().prepare(sound(left, right, rate=44100)).inputs["views"]
    cut = ImageBindAudio().prepare(sound(left[:352800], right[:352800], rate=44100)).inputs["views"]
    alone = ImageBindAudio().prepare(sound(left, rate=44100)).inputs["views"]
    np.testing.assert_array_equal(whole, cut)
    assert 0 < np.abs(whole - alone).max() < 0.1


def test_the_quirk_is_a_parameter() -> None:
    window = sound(wave(5.0, SAMPLE_RATE) + np.linspace(0, 0.05, 80000, dtype=np.float32))
    quirky, clean = (ImageBindAudio(shared_mean_quirk=quirk).prepare(window) for quirk in (True, False))
    assert np.abs(quirky.inputs["views"] - clean.inputs["views"]).max() > 0.01
    mono = ImageBindAudio(shared_mean_quirk=False, first_channel_quirk=False)
    assert mono.parameters == {"shared_mean_quirk": False, "first_channel_quirk": False}
    left, right = wave(5.0, SAMPLE_RATE), wave(5.0, SAMPLE_RATE, 1)
    swapped = [mono.prepare(sound(*pair)).inputs["views"] for pair in ((left, right), (right, left))]
    np.testing.assert_allclose(swapped[0], swapped[1], atol=1e-4)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("network", [ImageBindVideo(), ImageBindAudio()], ids=lambda network: network.name)
def test_the_contract_of_a_network_is_kept(network: Network) -> None:
    copy = pickle.loads(pickle.dumps(network))
    assert copy == network
    assert hash(copy) == hash(network)
    assert copy.frames == network.frames
    assert json.loads(json.dumps(dict(network.parameters))) == network.parameters
    prepared = watched(count=2) if network.modality == "video" else heard(seconds=2.0)
    (clip,) = network.load("cpu")([pickle.loads(pickle.dumps(prepared))])
    assert tuple(clip) == network.features == ("embedding",)


def test_frames_are_two_seconds_apart_and_scaled_as_they_come() -> None:
    wanted = pickle.loads(pickle.dumps(ImageBindVideo.frames))
    assert wanted == ImageBindVideo().frames
    assert wanted.frame_rate == Fraction(1, 2)
    assert wanted.pixel_format == "rgb24"
    assert wanted.transform(np.zeros((240, 320, 3), np.uint8)).shape == (224, 298, 3)
