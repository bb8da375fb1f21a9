"""The shipped networks: small, whole, as good as their cards say, and the same for any batch."""

import json
import pickle
from importlib.resources import files

import numpy as np
import pytest
import torch

from v2abench.errors import ClipFault
from v2abench.impacts import shipped
from v2abench.impacts.embedding import EmbeddingNet, ImpactsAudio, ImpactsVideo
from v2abench.impacts.pictures import render_frames
from v2abench.impacts.scenes import make_scene
from v2abench.impacts.sounds import render_sound
from v2abench.impacts.spectrograms import log_mel
from v2abench.impacts.synchronisation import ImpactsSync, ImpactsSyncAudio, ImpactsSyncVideo, SyncNet
from v2abench.impacts.tagger import ImpactsTagger, TaggerNet
from v2abench.impacts.training import embedding, sync, tagger
from v2abench.impacts.training.batches import World
from v2abench.impacts.training_data import TrainingData, small
from v2abench.media.audio import Audio
from v2abench.media.reading import AudioWindow

NETWORKS = {"tagger": TaggerNet, "embedding": EmbeddingNet, "sync": SyncNet}
AUDIO = [ImpactsTagger(), ImpactsAudio(), ImpactsSyncAudio()]
VIDEO = [ImpactsVideo(), ImpactsSyncVideo()]
COUNT = 32


class Held(TrainingData):
    """The first clips of the test split in memory, none of which any network has seen."""

    def __init__(self) -> None:
        super().__init__("test", COUNT, None)
        scenes = [make_scene("test", index) for index in range(COUNT)]
        sounds = [render_sound(scene).samples[0] for scene in scenes]
        events = np.full((COUNT, 8), np.nan)
        for row, scene in zip(events, scenes, strict=True):
            row[: len(scene.events)] = [event.time_s for event in scene.events]
        self.__dict__.update(
            mels=np.stack([log_mel(sound) for sound in sounds]).astype(np.float16),
            events=events,
            _frames=[np.stack([small(render_frames(scene)) for scene in scenes])],
            _sounds=[(np.stack(sounds) * 32767).astype(np.int16)],
        )


@pytest.fixture(scope="module")
def world() -> World:
    return World(Held())


def loaded(name: str) -> torch.nn.Module:
    return shipped.with_shipped(NETWORKS[name](), name)


def test_the_tagger_tells_nearly_all_materials(world) -> None:
    assert tagger.accuracy(loaded("tagger"), world)["accuracy"] >= 0.95


def test_the_embedding_finds_the_own_sound_among_sixteen(world) -> None:
    assert embedding.held_out(loaded("embedding"), world)["own_sound_first"] >= 0.9


def test_the_offset_is_told_within_one_class_and_cannot_be_told_of_another_clips_sound(world) -> None:
    figures = sync.held_out(loaded("sync"), world, rounds=4)
    assert figures["within_one_class"] >= 0.92
    assert figures["other_clips_sound_within_one_class"] < 0.35


@pytest.mark.parametrize("name", NETWORKS)
def test_cards_promise_what_the_benchmark_needs_and_weigh_little(name) -> None:
    card = shipped.card(name)
    assert card["parameters"] == sum(p.numel() for p in NETWORKS[name]().parameters())
    assert card["held_out"]["clips"] == 512
    assert card["log"][-1][0] == card["recipe"]["steps"]
    bars = {
        "tagger": ("accuracy", 0.95),
        "embedding": ("own_sound_first", 0.9),
        "sync": ("within_one_class", 0.92),
    }
    key, bar = bars[name]
    assert card["held_out"][key] >= bar


def test_all_networks_of_the_world_are_below_8_mb_together() -> None:
    folder = files("v2abench.impacts").joinpath("weights")
    own = sum(len(entry.read_bytes()) for entry in folder.iterdir())
    flow = files("v2abench.baselines.tiny_flow").joinpath("weights.safetensors").read_bytes()
    assert own + len(flow) < 8e6


def prepared(network, indices):
    if network.modality == "audio":
        inputs = [AudioWindow.of(render_sound(make_scene("test", index)), 4.0) for index in indices]
    else:
        inputs = [small(render_frames(make_scene("test", index))) for index in indices]
    return [network.prepare(one) for one in inputs]


@pytest.mark.parametrize("network", [*AUDIO, *VIDEO], ids=lambda network: network.name)
def test_features_do_not_depend_on_the_batch(network) -> None:
    assert hash(pickle.loads(pickle.dumps(network))) == hash(network)
    json.dumps(dict(network.parameters))
    clips = prepared(network, range(3))
    forward = network.load("cpu")
    together, alone = forward(clips), [forward([clip])[0] for clip in clips]
    for one, other in zip(together, alone, strict=True):
        assert tuple(one) == network.features
        for name in network.features:
            np.testing.assert_allclose(one[name], other[name], atol=2e-5)


def test_the_offset_of_a_moved_sound_is_its_shift() -> None:
    """A clip with several impacts, its sound as it is and 0.4 s late."""
    index = next(k for k in range(20) if len(make_scene("test", k).events) >= 3)
    seen = ImpactsSyncVideo().load("cpu")(prepared(ImpactsSyncVideo(), [index]))[0]["segments"]
    sound = render_sound(make_scene("test", index)).samples
    late = np.concatenate([np.zeros((1, 6400), np.float32), sound[:, :-6400]], axis=1)
    offsets = []
    for samples in (sound, late):
        clip = ImpactsSyncAudio().prepare(AudioWindow.of(Audio(samples, 16000), 4.0))
        heard = ImpactsSyncAudio().load("cpu")([clip])[0]["segments"]
        inputs = {
            "video": {"impacts_sync_video.segments": seen},
            "generated": {"impacts_sync_audio.segments": heard},
        }
        offsets.append(ImpactsSync().load("cpu")(inputs)["logits"].argmax(axis=1) / 10 - 1)
    assert offsets[0] == pytest.approx([0, 0], abs=0.101)
    assert offsets[1] == pytest.approx([0.4, 0.4], abs=0.101)


@pytest.mark.parametrize("network", AUDIO, ids=lambda network: network.name)
def test_half_a_sound_is_refused(network) -> None:
    with pytest.raises(ClipFault, match=r"want 4 s, the sound has 2\.00 s"):
        network.prepare(AudioWindow.of(Audio(np.zeros((1, 32000), np.float32), 16000), 4.0))


@pytest.mark.parametrize("network", VIDEO, ids=lambda network: network.name)
def test_half_a_video_and_one_that_is_not_square_are_refused(network) -> None:
    with pytest.raises(ClipFault, match=r"the video has 2\.00 s"):
        network.prepare(np.zeros((50, 48, 48, 3), np.uint8))
    with pytest.raises(ClipFault, match="square"):
        network.prepare(np.zeros((100, 48, 64, 3), np.uint8))
