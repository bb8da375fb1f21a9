"""What MMAudio is told of a clip, against the reference's arrays (`goldens/mmaudio_conditions.npz`)."""

import json
import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from deterministic import frames
from media_files import make_video, numbers
from parity import GOLDENS, assert_parity, entries, recorded, shapes
from torch import nn

from v2abench.baselines.mmaudio import clip
from v2abench.baselines.mmaudio.clip import TextTower, VisionTower, load_tower, tokens
from v2abench.baselines.mmaudio.conditions import MMAudioClip, MMAudioSync, MMAudioText
from v2abench.contracts import Network
from v2abench.media.frame_grid import DueGrid
from v2abench.media.reading import FrameStream, read_media
from v2abench.networks.synchformer.visual import VisualEncoder, normalise, segments
from v2abench.weights.deterministic import deterministic_state, values, weights_mode

GOLDEN = np.load(GOLDENS / "mmaudio_conditions.npz")
TINY = {
    "embed_dim": 64,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 378, "layers": 2, "width": 160, "head_width": 80, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 2},
}
TEXTS = ["people marching", "", 'Playing  Violin, fiddle &amp; "drums"']
NETWORKS: list[Network] = [MMAudioClip(), MMAudioSync(), MMAudioText()]


def pictures(count: int, size: int) -> np.ndarray:
    return np.ascontiguousarray(frames(count, size).transpose(0, 2, 3, 1))


def test_entries_are_those_of_the_official_checkpoint() -> None:
    with torch.device("meta"):
        found = shapes(VisionTower(clip.architecture())) | shapes(TextTower(clip.architecture()))
    assert found == entries("clip_dfn5b_vit_h14")
    with torch.device("meta"):
        sync = nn.ModuleDict({"vfeat_extractor": VisualEncoder()})
    assert shapes(sync) == entries("synchformer_visual")


@torch.inference_mode()
def test_clip_agrees() -> None:
    with weights_mode("deterministic"):
        vision, text = load_tower(VisionTower, TINY), load_tower(TextTower, TINY)
    seen = vision(clip.normalise(torch.from_numpy(pictures(2, 384))))
    assert_parity(seen, GOLDEN["clip_tiny.image"])
    read = tokens(TEXTS)
    np.testing.assert_array_equal(read, GOLDEN["clip_tiny.token_ids"])
    assert_parity(text(read)[:, :12], GOLDEN["clip_tiny.text[:, :12]"])


@torch.inference_mode()
def test_synchformer_agrees() -> None:
    module = nn.ModuleDict({"vfeat_extractor": VisualEncoder()})
    module.load_state_dict(deterministic_state(module.state_dict()), assign=True)
    encoder = module["vfeat_extractor"].eval()
    with recorded(encoder, ["patch_embed_3d.proj", "blocks.0", "norm"]) as outputs:
        # Of the golden's two segments, which go through by themselves, one: each costs 0.4 TFLOP.
        found = encoder(normalise(segments(torch.from_numpy(pictures(24, 224))))[:1])
    assert_parity(found, GOLDEN["synchformer_visual.features"][:1])
    patches = outputs["patch_embed_3d.proj"].flatten(2).transpose(1, 2)
    assert_parity(patches[:, :4], GOLDEN["synchformer_visual.patch_embed_3d[:, :4]"][:1])
    assert_parity(outputs["blocks.0"][:, :4], GOLDEN["synchformer_visual.blocks.0[:, :4]"][:1])
    assert_parity(outputs["norm"][:, :4], GOLDEN["synchformer_visual.norm[:, :4]"][:1])


@pytest.mark.parametrize("key", [key for key in GOLDEN if key.startswith("video.index_")])
def test_frames_are_chosen_as_by_the_demo(key: str) -> None:
    stream, _, rate = key.removeprefix("video.index_").partition(".")
    wanted = 8 if stream == "clip8" else 25
    source = {"29.97": Fraction(30000, 1001), "23.976": Fraction(24000, 1001)}.get(rate) or Fraction(rate)
    grid, found = DueGrid(Fraction(wanted)), []
    for index in range(int(8 * source) + 1):
        if index / source <= 8:
            found += [index] * grid.advance(index / source)
    np.testing.assert_array_equal(found, GOLDEN[key])


def test_the_reader_chooses_them_too(tmp_path: Path) -> None:
    path = make_video(tmp_path / "slow.mp4", 4.0, fps=15)
    due = FrameStream(Fraction(8), choice="due")
    found = read_media(path, seconds=4.0, sound=False, frames=[due]).frames[due]
    grid, expected = DueGrid(Fraction(8)), []
    for index in range(60):
        expected += [index] * grid.advance(Fraction(index, 15))
    assert numbers(found) == expected[:32]
    assert expected[1] == 2


def test_frames_are_scaled_as_by_torchvision() -> None:
    wide = pictures(2, 320)[:, :240]
    seen = np.stack([clip.square(frame) for frame in wide]).transpose(0, 3, 1, 2)
    golden = GOLDEN["video.clip_frames[:, :, ::16, ::16]"]
    assert seen.shape == (2, 3, 384, 384)
    assert np.abs(seen[:, :, ::16, ::16] / 255 - golden).max() < 1.01 / 255
    transform = MMAudioSync.frames.transform
    assert transform is not None
    watched = normalise(torch.from_numpy(np.stack([transform(frame) for frame in wide])))
    golden = GOLDEN["video.sync_frames[:, :, ::16, ::16]"]
    found = watched.permute(0, 3, 1, 2)[:, :, ::16, ::16]
    assert np.abs(found.numpy() - golden).max() < 2.01 / 255


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_networks_survive_pickling_and_have_fingerprints(network: Network) -> None:
    assert pickle.loads(pickle.dumps(network)) == network
    assert len({*NETWORKS, pickle.loads(pickle.dumps(network))}) == len(NETWORKS)
    assert json.loads(json.dumps(dict(network.parameters))) == network.parameters


def test_a_batch_gives_what_its_clips_give_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip, "architecture", lambda: TINY)
    with weights_mode("deterministic"):
        for network, media in (
            (MMAudioClip(), [pictures(17, 384), pictures(2, 384)]),
            (MMAudioText(), TEXTS),
        ):
            forward = network.load("cpu")
            prepared = [network.prepare(one) for one in media]
            (name,) = network.features
            for together, given in zip(forward(prepared), prepared, strict=True):
                alone = forward([given])[0][name]
                np.testing.assert_array_equal(together[name], alone)
                lengths = np.linalg.norm(alone, axis=-1)
                np.testing.assert_allclose(lengths, 1, rtol=1e-5)


def test_only_the_wanted_half_of_a_checkpoint_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with torch.device("meta"):
        names = shapes(VisionTower(TINY)) | shapes(TextTower(TINY))
    path = tmp_path / "clip.bin"
    torch.save({name: values(name, shape) for name, shape in names.items()}, path)
    monkeypatch.setattr(clip, "require", {clip.WEIGHTS: path}.__getitem__)
    text = load_tower(TextTower, TINY)
    with weights_mode("deterministic"):
        same = load_tower(TextTower, TINY)
    assert torch.equal(text(tokens(TEXTS)), same(tokens(TEXTS)))
    torch.save({"visual.proj": torch.zeros(1)}, path)
    with pytest.raises(RuntimeError, match="Missing key"):
        load_tower(TextTower, TINY)
