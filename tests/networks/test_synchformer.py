"""Synchformer against the reference implementation's arrays (specs/av_evaluators.md), and its invariances.

`synchformer.npz` holds what the official code computes with weights from
`deterministic.fill_`: at full size (`full_*`) and, for all 24 segments of 8 s, at a
width of 96 (`small_*`).
"""

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from deterministic import fill_, frames, values, wave
from numpy.typing import NDArray
from torch import Tensor, nn

from v2abench.contracts import Array, Network, Stream
from v2abench.errors import ClipFault
from v2abench.features.extraction import Extractor
from v2abench.media.audio import Audio
from v2abench.media.reading import AudioWindow, FrameStream, read_media
from v2abench.networks.synchformer import audio, checkpoint, comparison, visual
from v2abench.networks.synchformer.audio import AudioEncoder, SynchformerAudio, log_mel
from v2abench.networks.synchformer.comparison import OFFSETS, Comparison, Synchformer
from v2abench.networks.synchformer.visual import SynchformerVideo, VisualEncoder, normalise, segments, square
from v2abench.protocols.schema import Window
from v2abench.selftest.goldens import golden

GOLDENS = Path(__file__).parents[1] / "goldens"
GOLDEN = golden("synchformer")

small_visual = partial(VisualEncoder, width=96, depth=2, heads=4)
small_audio = partial(AudioEncoder, width=96, depth=2, heads=4, hidden=192)
small_comparison = partial(Comparison, width=96, depth=2, heads=4)

close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "synchformer.pth"
    torch.save(deterministic(small_visual(), small_audio(), small_comparison()).state_dict(), path)
    return path


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], list[str]]:
    """Make the networks small and load the given checkpoint; tells what was required, in order."""
    monkeypatch.setattr(visual, "VisualEncoder", small_visual)
    monkeypatch.setattr(audio, "AudioEncoder", small_audio)
    monkeypatch.setattr(comparison, "Comparison", small_comparison)

    def use_checkpoint(path: Path) -> list[str]:
        required: list[str] = []

        def require(name: str) -> Path:
            required.append(name)
            return path

        monkeypatch.setattr(checkpoint, "require", require)
        return required

    return use_checkpoint


@pytest.fixture
def small(use: Callable[[Path], list[str]], small_checkpoint: Path) -> list[str]:
    return use(small_checkpoint)


def deterministic(video: VisualEncoder, sound: AudioEncoder, pair: Comparison) -> nn.ModuleDict:
    parts = {"vfeat_extractor": video, "afeat_extractor": sound, **dict(pair.named_children())}
    return fill_(nn.ModuleDict(parts)).eval().requires_grad_(False)


def pictures(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.ascontiguousarray(frames(count, 224, seed).transpose(0, 2, 3, 1))


def window(samples: NDArray[np.float32], rate: int = 16000) -> AudioWindow:
    return AudioWindow.of(Audio(samples[None], rate), seconds=8.0)


def inputs_of(video: Array, sound: Array) -> dict[Stream, dict[str, Array]]:
    inputs: dict[Stream, dict[str, Array]] = {
        "video": {"synchformer_video.segments": video},
        "generated": {"synchformer_audio.segments": sound},
    }
    assert {stream: tuple(named) for stream, named in inputs.items()} == Synchformer.needs
    return inputs


def compute(video: Array, sound: Array) -> Array:
    return Synchformer().load("cpu")(inputs_of(video, sound))["logits"]


def offsets(logits: Array) -> Array:
    found: Array = np.abs(OFFSETS)[logits.argmax(axis=-1)]
    return found


def test_entries_are_those_of_the_checkpoint() -> None:
    with torch.device("meta"):
        parts = {"vfeat_extractor": VisualEncoder(), "afeat_extractor": AudioEncoder()}
        module = nn.ModuleDict({**parts, **dict(Comparison().named_children())})
    found = {name: "x".join(map(str, tensor.shape)) for name, tensor in module.state_dict().items()}
    lines = (GOLDENS / "synchformer.keys.tsv").read_text().splitlines()[1:]
    assert len(lines) == 513
    assert found == dict(line.split("\t")[:2] for line in lines)


@pytest.mark.parametrize(
    ("shape", "height", "width"),
    [("land", 240, 320), ("port", 320, 240), ("hd", 202, 360), ("small", 120, 160)],
)
def test_frames_are_scaled_cropped_and_normalised_as_by_torchvision(
    shape: str, height: int, width: int
) -> None:
    top, left = (360 - height) // 2, (360 - width) // 2
    frame = frames(3, 360)[1].transpose(1, 2, 0)[top : top + height, left : left + width]
    found = square(frame)
    assert found.dtype == np.uint8
    difference = np.abs(found.transpose(2, 0, 1).astype(int) - GOLDEN[f"{shape}_sync_u8"])
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01
    corner = normalise(torch.tensor(found[:4, :4])).permute(2, 0, 1)
    np.testing.assert_allclose(corner, GOLDEN[f"{shape}_sync_norm_corner"], rtol=0, atol=0.02)


def test_log_mel_is_that_of_the_reference() -> None:
    mel = np.stack([log_mel(wave(8.0, 16000, seed)) for seed in (0, 1)])
    assert mel.dtype == np.float32
    np.testing.assert_allclose(mel[:, [0, 9, 23]], GOLDEN["mel_seg"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(mel.mean(axis=-1), GOLDEN["mel_mean"], rtol=0, atol=1e-4)


def test_sound_of_another_rate_is_resampled_as_in_the_reference() -> None:
    sound = window(wave(8.0, 44100), 44100)
    waveform = sound.waveform(16000, remove_mean=False)
    for part, where in (("head", slice(400)), ("mid", slice(64000, 64400)), ("tail", slice(-400, None))):
        np.testing.assert_allclose(waveform[where], GOLDEN[f"resampled_16k_{part}"], rtol=0, atol=1e-4)
    mel = SynchformerAudio().prepare(sound).inputs["mel"]
    np.testing.assert_allclose(mel[23], GOLDEN["sync_mel_44k_seg23"], rtol=0, atol=1e-4)


def test_the_offset_of_the_sound_is_left_in() -> None:
    samples = wave(1.0, 16000)
    shifted = SynchformerAudio().prepare(window(samples + np.float32(0.25)))
    np.testing.assert_array_equal(shifted.inputs["mel"], log_mel(samples + np.float32(0.25)))
    assert np.abs(shifted.inputs["mel"] - log_mel(samples)).max() > 0.1


@pytest.mark.usefixtures("small")
def test_features_of_8_s_of_video_are_those_of_the_reference() -> None:
    network = SynchformerVideo()
    (clip,) = network.load("cpu")([network.prepare(pictures(200))])
    assert tuple(clip) == network.features
    assert clip["segments"].dtype == np.float32
    close(clip["segments"], GOLDEN["small_vfeats"][0])


@pytest.mark.usefixtures("small")
def test_features_of_8_s_of_sound_are_those_of_the_reference() -> None:
    network = SynchformerAudio()
    clips = network.load("cpu")([network.prepare(window(wave(8.0, 16000, seed))) for seed in (0, 1)])
    assert tuple(clips[0]) == network.features
    assert clips[0]["segments"].dtype == np.float32
    close([clip["segments"] for clip in clips], GOLDEN["small_afeats"])


def test_the_encoders_inner_values_are_those_of_the_reference() -> None:
    video, sound = small_visual(), small_audio()
    deterministic(video, sound, small_comparison())
    seen: dict[str, Tensor] = {}

    def watch(module: nn.Module, name: str) -> None:
        def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            seen[name] = output[0]

        module.register_forward_hook(keep)

    watch(video.patch_embed_3d["proj"], "patches")
    watch(video.blocks[-1], "tokens")
    watch(sound.ast.embeddings, "embeddings")
    watch(sound.ast, "hidden")
    video(normalise(segments(torch.from_numpy(pictures(16)))))
    sound(torch.from_numpy(log_mel(wave(8.0, 16000))[:1]))
    close(seen["patches"].flatten(1).T[-8:], GOLDEN["small_v_patch_embed_tail"])
    close(seen["tokens"][:8], GOLDEN["small_v_tokens_head"])
    close(seen["tokens"][-8:], GOLDEN["small_v_tokens_tail"])
    close(seen["embeddings"], GOLDEN["small_a_embeddings"])
    close(seen["hidden"], GOLDEN["small_a_last_hidden"])


@pytest.mark.usefixtures("small")
def test_logits_and_offsets_are_those_of_the_reference() -> None:
    video = GOLDEN["small_vfeats"][0]
    logits = np.stack([compute(video, sound) for sound in GOLDEN["small_afeats"]])
    assert logits.dtype == np.float32
    close(logits[:, 0], GOLDEN["small_logits_first"])
    close(logits[:, 1], GOLDEN["small_logits_last"])
    np.testing.assert_allclose(offsets(logits).T, GOLDEN["small_offsets"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(offsets(logits).mean(), GOLDEN["small_desync"], rtol=0, atol=1e-6)


def test_the_full_visual_encoder_is_that_of_the_reference() -> None:
    encoder = fill_(nn.ModuleDict({"vfeat_extractor": VisualEncoder()})).eval()["vfeat_extractor"]
    with torch.inference_mode():
        found = encoder(normalise(segments(torch.from_numpy(pictures(24)))))
    close(found, GOLDEN["full_vfeats"][0])


def test_the_full_audio_encoder_is_that_of_the_reference() -> None:
    encoder = fill_(nn.ModuleDict({"afeat_extractor": AudioEncoder()})).eval()["afeat_extractor"]
    with torch.inference_mode():
        found = encoder(torch.from_numpy(log_mel(wave(8.0, 16000))[[0, 23]]))
    close(found, GOLDEN["full_afeats"][0])


def test_the_full_comparison_is_that_of_the_reference() -> None:
    network = fill_(Comparison()).eval()
    video, sound = (
        (10 * values(f"probe.{name}", (2 * 24 * tokens * 768,))).reshape(2, 24, tokens, 768)
        for name, tokens in (("vis", 8), ("aud", 6))
    )
    with torch.inference_mode():
        first = network(video[:, :14], sound[:, :14]).numpy()
        last = network(video[:, -14:], sound[:, -14:]).numpy()
    close(first, GOLDEN["full_probe_logits_first"])
    close(last, GOLDEN["full_probe_logits_last"])
    desync = offsets(np.stack([first, last])).mean()
    np.testing.assert_allclose(desync, GOLDEN["full_probe_desync"], rtol=0, atol=1e-6)


@pytest.mark.usefixtures("small")
def test_values_do_not_depend_on_the_batch() -> None:
    video, sound = SynchformerVideo(), SynchformerAudio()
    films = [video.prepare(pictures(count, seed)) for seed, count in enumerate((32, 16, 40))]
    sounds = [sound.prepare(window(wave(seconds, 16000, 1))) for seconds in (1.3, 0.7, 2.0)]
    for network, clips in ((video, films), (sound, sounds)):
        forward = network.load("cpu")
        alone = [forward([clip])[0]["segments"] for clip in clips]
        together = [output["segments"] for output in forward(clips)]
        assert [len(output) for output in alone] == ([3, 1, 4] if network is video else [3, 1, 5])
        assert np.abs(alone[0][0] - alone[2][0]).max() > 1e-2
        for expected, found in zip(alone, together, strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("small")
def test_a_segment_does_not_depend_on_where_in_the_clip_it_is() -> None:
    network = SynchformerVideo()
    film = pictures(88)
    whole, end = network.load("cpu")([network.prepare(film), network.prepare(film[-16:])])
    assert len(whole["segments"]) == 10
    close(whole["segments"][-1:], end["segments"], rtol=0, atol=1e-5)


@pytest.mark.usefixtures("small")
def test_14_segments_are_compared_twice_and_24_in_two_windows() -> None:
    video, sound = GOLDEN["small_vfeats"][0], GOLDEN["small_afeats"][0]
    first, last = compute(video[:14], sound[:14])
    np.testing.assert_array_equal(first, last)
    np.testing.assert_array_equal(first, compute(video, sound)[0])
    np.testing.assert_array_equal(compute(video[10:], sound[10:])[1], compute(video, sound)[1])
    assert np.abs(np.diff(compute(video, sound), axis=0)).max() > 1e-3


def test_the_comparison_is_loaded_once_and_onto_the_device(small: list[str], tmp_path: Path) -> None:
    video, sounds = GOLDEN["small_vfeats"][0], GOLDEN["small_afeats"]
    extractor = Extractor(tmp_path, Window(seconds=8.0))
    for sound in sounds:
        found = extractor.compare(Synchformer(), inputs_of(video, sound))
        assert not isinstance(found, ClipFault)
        np.testing.assert_array_equal(found["logits"], compute(video, sound))
    assert small.count("synchformer") == 1 + len(sounds)
    with pytest.raises(NotImplementedError, match="meta"):
        Synchformer().load("meta")(inputs_of(video, sounds[0]))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("video", "sound", "code", "told"),
    [
        (13, 13, "too-short", "the video has 13 segments, the sound 13"),
        (24, 13, "too-short", "the video has 24 segments, the sound 13"),
        (24, 23, "undefined", "the video has 24 segments, the sound 23"),
    ],
)
def test_segments_that_cannot_be_compared_are_told(video: int, sound: int, code: str, told: str) -> None:
    with pytest.raises(ClipFault, match=told) as fault:
        compute(np.zeros((video, 8, 96), np.float32), np.zeros((sound, 6, 96), np.float32))
    assert fault.value.code == code


def test_a_clip_under_one_segment_is_told() -> None:
    with pytest.raises(ClipFault, match=r"too-short: .*16 frames at 25 fps, the clip has 15"):
        SynchformerVideo().prepare(pictures(15))
    with pytest.raises(ClipFault, match=r"too-short: .*0\.64 s of sound, the clip has 0\.625 s"):
        SynchformerAudio().prepare(window(wave(0.625, 16000)))


def test_a_video_gives_square_frames(videos: Path) -> None:
    network, native = SynchformerVideo(), FrameStream(SynchformerVideo().frames.frame_rate)
    media = read_media(videos / "c.mp4", seconds=1.0, sound=False, frames=[network.frames, native])
    found, originals = media.frames[network.frames], media.frames[native]
    assert isinstance(found, np.ndarray)
    assert isinstance(originals, np.ndarray)
    assert network.prepare(found).inputs["frames"].shape == (25, 224, 224, 3)
    np.testing.assert_array_equal(found[7], square(originals[7]))


@pytest.mark.parametrize("network", [SynchformerVideo(), SynchformerAudio()], ids=lambda n: n.name)
def test_a_network_survives_pickling_and_is_a_key(network: Network) -> None:
    copy = pickle.loads(pickle.dumps(network))
    assert copy == network
    assert copy.frames == network.frames
    assert hash(copy) == hash(network)


@pytest.mark.parametrize("network", [SynchformerVideo(), SynchformerAudio()], ids=lambda n: n.name)
@pytest.mark.parametrize("change", ["lacks", "adds"])
def test_a_network_loads_its_part_strictly_and_no_other(
    network: Network,
    change: str,
    use: Callable[[Path], list[str]],
    small_checkpoint: Path,
    tmp_path: Path,
) -> None:
    own = "vfeat_extractor" if network.modality == "video" else "afeat_extractor"
    state = torch.load(small_checkpoint, weights_only=True)
    only_own = {name: tensor for name, tensor in state.items() if name.startswith(own)}
    torch.save(only_own, tmp_path / "own.pth")
    use(tmp_path / "own.pth")
    network.load("cpu")
    if change == "lacks":
        del state[f"{own}.{'norm' if network.modality == 'video' else 'ast.layernorm'}.weight"]
    else:
        state[f"{own}.head.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "changed.pth")
    use(tmp_path / "changed.pth")
    with pytest.raises(RuntimeError, match="Missing key" if change == "lacks" else "Unexpected key"):
        network.load("cpu")
