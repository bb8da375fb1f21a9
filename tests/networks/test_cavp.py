"""CAVP against the reference implementation's arrays (luosiallen/Diff-Foley@0ba1e8a), and its invariances."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from deterministic import frames, values
from numpy.typing import NDArray
from parity import GOLDENS, assert_parity, entries, recorded, shapes
from torch import Tensor

from v2abench.errors import V2ABenchError
from v2abench.media.reading import FrameStream, read_media
from v2abench.networks import cavp
from v2abench.networks.cavp import CAVP, AudioTower, VideoTower, load_tower, pixels, stretch
from v2abench.weights.deterministic import filled, weights_mode

GOLDEN = np.load(GOLDENS / "frieren.npz")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tower() -> VideoTower:
    return filled(VideoTower)


def pictures(count: int, seed: int = 3, size: int = 320) -> NDArray[np.uint8]:
    return np.stack([stretch(frame.transpose(1, 2, 0)) for frame in frames(count, size, seed)])


def test_entries_are_those_of_the_checkpoint() -> None:
    with torch.device("meta"):
        found = {**shapes(VideoTower()), **shapes(AudioTower())}
    assert {**found, "logit_scale": ()} == entries("cavp_video")


def test_frames_are_stretched_as_by_the_reference() -> None:
    found = pictures(4).transpose(0, 3, 1, 2) / 255
    assert_parity(found[:, :, ::16, ::16], GOLDEN["cavp.pre"])
    np.testing.assert_allclose(found.mean(axis=(1, 2, 3)), GOLDEN["cavp.pre_mean"], rtol=1e-5)
    assert stretch(np.zeros((48, 80, 3), np.uint8)).shape == (224, 224, 3)


@pytest.mark.parametrize("size", [64, 224])
@torch.inference_mode()
def test_rows_and_inner_values_are_those_of_the_reference(tower: VideoTower, size: int) -> None:
    if size == 64:
        clip = torch.from_numpy(frames(5, 64, seed=3)).transpose(0, 1)[None].float() / 255
    else:
        clip = pixels(torch.from_numpy(pictures(4)))[None]
    names = ["conv1", "maxpool", *(f"layer{stage}" for stage in range(1, 5))]
    with recorded(tower.video_encoder, names) as outputs:
        raw = tower.project(clip)
    outputs["adaptive_pool"] = outputs["layer4"].mean(dim=(3, 4), keepdim=True)
    # The reference's first convolution has its ReLU inside.
    outputs["conv1"] = outputs["conv1"].relu()
    for name in (*names, "adaptive_pool"):
        golden = GOLDEN[f"cavp{size}.mid.{name}"]
        assert_parity(outputs[name][:, :8, :, :4, :4], golden)
    assert_parity(raw, GOLDEN[f"cavp{size}.feat_raw"])
    assert_parity(torch.nn.functional.normalize(raw, dim=-1), GOLDEN[f"cavp{size}.feat"])


@torch.inference_mode()
def test_the_audio_tower_is_that_of_the_reference() -> None:
    spectrogram = (10 * values("input.spec", (128 * 256,), seed=3)).reshape(1, 128, 256) * 0.2 + 0.5
    assert_parity(filled(AudioTower)(spectrogram), GOLDEN["cavp.spec_feat"])


def small_clip(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.ascontiguousarray(frames(count, 32, seed).transpose(0, 2, 3, 1))


def test_the_network_gives_the_rows_of_each_clip_whatever_the_batch() -> None:
    network = CAVP()
    clips = [network.prepare(small_clip(count, seed)) for seed, count in enumerate((3, 5))]
    with weights_mode("deterministic"):
        forward = network.load("cpu")
    together = forward(clips)
    assert [clip["rows"].shape for clip in together] == [(3, 512), (5, 512)]
    for clip, found in zip(clips, together, strict=True):
        np.testing.assert_array_equal(forward([clip])[0]["rows"], found["rows"])
        np.testing.assert_allclose(np.linalg.norm(found["rows"], axis=1), 1, rtol=1e-5)


def test_frames_beyond_forty_begin_anew() -> None:
    network = CAVP()
    film = small_clip(42)
    with weights_mode("deterministic"):
        forward = network.load("cpu")
    whole, end = forward([network.prepare(film), network.prepare(film[40:])])
    np.testing.assert_array_equal(whole["rows"][40:], end["rows"])


def test_a_video_gives_four_frames_a_second(videos: Path) -> None:
    network, native = CAVP(), FrameStream(CAVP.frames.frame_rate)
    media = read_media(videos / "c.mp4", seconds=10.0, sound=False, frames=[network.frames, native])
    found, originals = media.frames[network.frames], media.frames[native]
    assert isinstance(found, np.ndarray)
    assert isinstance(originals, np.ndarray)
    assert found.shape == (8, 224, 224, 3)
    np.testing.assert_array_equal(found[5], stretch(originals[5]))


def test_a_checkpoint_may_be_wrapped_and_from_parallel_training(
    tower: VideoTower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state: dict[str, Tensor] = {f"module.{name}": tensor for name, tensor in tower.state_dict().items()}
    state["module.logit_scale"] = torch.zeros(())
    torch.save({"state_dict": state, "epoch": 66}, tmp_path / "cavp.ckpt")
    monkeypatch.setattr(cavp, "require", {"cavp": tmp_path / "cavp.ckpt"}.__getitem__)
    clip = CAVP().prepare(small_clip(2))
    with weights_mode("deterministic"):
        expected = CAVP().load("cpu")([clip])[0]["rows"]
    np.testing.assert_array_equal(CAVP().load("cpu")([clip])[0]["rows"], expected)
    del state["module.video_project_head.bias"]
    torch.save(state, tmp_path / "cavp.ckpt")
    with pytest.raises(V2ABenchError, match=r"(?s)not the CAVP of Diff-Foley.*video_project_head\.bias"):
        load_tower(VideoTower, tmp_path / "cavp.ckpt")
