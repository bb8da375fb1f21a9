"""CLAP against the reference implementation's arrays (specs/av_evaluators.md, 5), and its invariances.

`clap_audio.npz` holds what LAION's code computes with weights from `fill_`, under its
own entry names, for `wave(8, 48000)` and `wave(3, 48000)`.
"""

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from deterministic import values, wave
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn

from v2abench.contracts import Forward
from v2abench.errors import ClipFault, UnknownNameError, V2ABenchError
from v2abench.media.audio import Audio
from v2abench.media.reading import AudioWindow
from v2abench.networks.clap import audio, checkpoint, text
from v2abench.networks.clap.audio import SAMPLE_RATE, SAMPLES, ClapAudio, fill_up, log_mel
from v2abench.networks.clap.text import ClapText, bytes_as_tokens, roberta_tokens
from v2abench.selftest.goldens import golden, golden_entries
from v2abench.weights.deterministic import weights_mode

GOLDEN = golden("clap_audio")
CONSTANT = re.compile(r"extractor|attn_mask")


@cache
def official() -> dict[str, torch.Tensor]:
    """The sound half as LAION's file has it, with deterministic weights; constants are left hollow."""
    return {
        f"module.{name}": values(name, shape)
        if (dtype := getattr(torch, kind)).is_floating_point and not CONSTANT.search(name)
        else torch.zeros((), dtype=dtype).expand(shape)
        for name, shape, kind in golden_entries("clap_audio")
    }


def window(samples: np.ndarray) -> AudioWindow:
    return AudioWindow.of(Audio(samples[None], SAMPLE_RATE), len(samples) / SAMPLE_RATE, file_mean=0.0)


@pytest.fixture(scope="module")
def forward(tmp_path_factory: pytest.TempPathFactory) -> Forward:
    """The sound half, loaded from a file of LAION's layout: that of a training run with NumPy scalars."""
    path = tmp_path_factory.mktemp("weights") / "clap.pt"
    entries = {name: entry for name, entry in official().items() if entry.dim() and entry.stride()[0]}
    torch.save({"epoch": np.int64(15), "name": "x", "state_dict": entries}, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "require", {"clap_music_speech_audioset": path}.__getitem__)
        loaded = ClapAudio().load("cpu")
    path.unlink()
    return loaded


def test_log_mel_is_that_of_the_reference() -> None:
    mel = log_mel(fill_up(wave(8, SAMPLE_RATE)))
    assert mel.dtype == np.float32
    assert mel.shape == (1001, 64)
    np.testing.assert_allclose(mel[::8], GOLDEN["logmel_8s"], rtol=0, atol=2e-3)
    np.testing.assert_allclose(mel.mean(axis=0), GOLDEN["logmel_8s_mean"], rtol=0, atol=2e-3)
    short = log_mel(fill_up(wave(3, SAMPLE_RATE)))
    np.testing.assert_allclose(short.mean(axis=0), GOLDEN["logmel_3s_mean"], rtol=0, atol=2e-3)


@pytest.mark.parametrize("seconds", [3, 8])
def test_embeddings_are_those_of_the_reference(forward: Forward, seconds: int) -> None:
    (clip,) = forward([ClapAudio().prepare(window(wave(seconds, SAMPLE_RATE)))])
    assert clip["embedding"].dtype == np.float32
    np.testing.assert_allclose(clip["embedding"], GOLDEN[f"embed_{seconds}s"], rtol=0, atol=1e-5)


def test_embeddings_do_not_depend_on_the_batch_or_the_threads(forward: Forward) -> None:
    clips = [ClapAudio().prepare(window(wave(1.0 + seed, SAMPLE_RATE, seed))) for seed in range(3)]
    alone = np.stack([forward([clip])[0]["embedding"] for clip in clips])
    torch.set_num_threads(2)
    together = np.stack([output["embedding"] for output in forward(clips)])
    assert np.ptp(alone, axis=0).max() > 3e-4
    np.testing.assert_allclose(together, alone, rtol=0, atol=2e-6)


def test_every_entry_of_the_official_checkpoint_finds_its_place() -> None:
    """Names and shapes after the conversion are exactly those of transformers, constants apart."""
    with torch.device("meta"):
        expected = checkpoint.audio_half().state_dict()
    converted = {name: tuple(tensor.shape) for name, tensor in checkpoint.convert(official()).items()}
    assert converted == {name: tuple(entry.shape) for name, entry in expected.items()}


def test_a_checkpoint_of_another_network_is_refused() -> None:
    lacking = {"audio_projection.linear1.weight": torch.zeros(1, 1)}
    model = nn.ModuleDict({"audio_projection": nn.ModuleDict({"linear1": nn.Linear(1, 1)})})
    with pytest.raises(V2ABenchError, match=r"1 entries are missing .*linear1\.bias"):
        checkpoint.load_entries(model, "audio", lacking)


def test_a_longer_sound_is_cropped_at_a_place_of_its_own() -> None:
    first, second = (wave(11, SAMPLE_RATE, seed) for seed in (1, 2))
    crops = [fill_up(first), fill_up(first), fill_up(second)]
    assert all(len(crop) == SAMPLES for crop in crops)
    np.testing.assert_array_equal(crops[0], crops[1])
    starts = [
        next(i for i in range(48001) if sound[i] == crop[0] and np.array_equal(sound[i : i + 9], crop[:9]))
        for sound, crop in ((first, crops[0]), (second, crops[2]))
    ]
    assert starts[0] != starts[1]


def test_too_little_sound_is_a_fault() -> None:
    with pytest.raises(ClipFault, match=r"too-short: clap_audio needs 0\.1 s"):
        ClapAudio().prepare(window(np.zeros(100, np.float32)))


def test_an_unknown_checkpoint_is_named() -> None:
    for network in (ClapAudio, ClapText):
        with pytest.raises(UnknownNameError, match="did you mean 'larger_clap_general'"):
            network(checkpoint="larger_clap_generl")


def test_texts_with_deterministic_weights_have_embeddings_of_their_own() -> None:
    prompts = ["dog barking", "a hammer strikes a nail", "dog barking"]
    with weights_mode("deterministic"):
        forward = ClapText().load("cpu")
    outputs = forward([ClapText().prepare(prompt) for prompt in prompts])
    embeddings = np.stack([output["embedding"] for output in outputs])
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(embeddings[0], embeddings[2], atol=1e-6)
    assert np.abs(embeddings[0] - embeddings[1]).max() > 1e-3
    alone = forward([ClapText().prepare(prompts[1])])[0]["embedding"]
    np.testing.assert_allclose(alone, embeddings[1], atol=2e-6)


def test_the_tokenizer_frames_cuts_and_fills_up(tmp_path: Path) -> None:
    """With a word-level tokenizer of RoBERTa's framing, in the file format that the hub serves."""
    words = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "dog": 4, "barks": 5}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    tokens, mask = roberta_tokens(str(tmp_path / "tokenizer.json"))(["dog barks", "dog " * 100])
    assert tokens.shape == mask.shape == (2, text.LONGEST)
    assert tokens[0, :5].tolist() == [0, 4, 5, 2, 1]
    assert mask.sum(dim=1).tolist() == [4, 77]
    assert tokens[1, -1] == 2


def test_bytes_stand_in_for_tokens() -> None:
    tokens, mask = bytes_as_tokens(["ab", "x" * 200])
    assert tokens[0, :5].tolist() == [0, ord("a") + 3, ord("b") + 3, 2, 1]
    assert mask.sum(dim=1).tolist() == [4, 77]
    assert audio.HOP == 480
