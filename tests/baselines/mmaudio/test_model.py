"""MMAudio as a model, made small: the path from video to sound, and what alignment needs."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from media_files import make_video

from v2abench.baselines.mmaudio import clip as clip_network
from v2abench.baselines.mmaudio.codec import CODECS
from v2abench.baselines.mmaudio.model import MMAudio, open_variant
from v2abench.baselines.mmaudio.network import MMAudioNetwork
from v2abench.baselines.mmaudio.stored import clip_tokens, sync_segments
from v2abench.clips import Clip, Dataset
from v2abench.contracts import Request
from v2abench.errors import ClipFault, UnknownNameError, V2ABenchError
from v2abench.features.conditions import ConditionStore
from v2abench.features.extraction import Extractor
from v2abench.media.audio import Audio
from v2abench.models import GenerationOptions, ModelContext
from v2abench.models import open_model as open_spec
from v2abench.protocols.schema import Window
from v2abench.sampling import sample_latents, stack
from v2abench.weights.registry import WeightsUnavailableError

Open = Callable[..., MMAudio]


def sounds(model: MMAudio, requests: Sequence[Request]) -> dict[str, np.ndarray]:
    found = {}
    for answer in model.generate(requests):
        assert answer.audio is not None, answer.fault
        assert answer.audio.sample_rate == 16000
        found[answer.clip_id] = answer.audio.samples
    return found


@pytest.mark.parametrize(
    ("seconds", "length_16k", "samples_16k", "length_44k", "samples_44k", "clip", "sync"),
    [
        (4, 125, 64000, 173, 177152, 32, 88),
        (5, 157, 80384, 216, 221184, 40, 112),
        (8, 250, 128000, 345, 353280, 64, 192),
        (10, 313, 160256, 431, 441344, 80, 240),
        (12, 375, 192000, 517, 529408, 96, 288),
        (16, 500, 256000, 690, 706560, 128, 392),
    ],
)
def test_lengths_are_upstream_s(
    seconds: int, length_16k: int, samples_16k: int, length_44k: int, samples_44k: int, clip: int, sync: int
) -> None:
    low, high = CODECS["16k"], CODECS["44k"]
    assert (low.length(seconds), low.samples(seconds)) == (length_16k, samples_16k)
    assert (high.length(seconds), high.samples(seconds)) == (length_44k, samples_44k)
    assert (clip_tokens(seconds), 8 * sync_segments(seconds)) == (clip, sync)


def test_every_clip_gets_sound_of_its_length(open_model: Open, requests: list[Request]) -> None:
    found = sounds(open_model(), requests)
    assert list(found) == ["0", "1", "2"]
    for samples in found.values():
        assert samples.shape == (1, CODECS["16k"].samples(1.0))
        assert np.isfinite(samples).all()
        assert 0 < np.abs(samples).max() <= 1
    assert not np.array_equal(found["0"], found["2"])


def test_neither_batch_nor_order_nor_cache_changes_a_sound(open_model: Open, requests: list[Request]) -> None:
    together = sounds(open_model(batch_size=3), requests)
    alone = sounds(open_model(batch_size=1), requests)
    mixed = sounds(open_model(batch_size=2), requests[::-1])
    for clip_id, samples in together.items():
        level = np.abs(samples).max()
        for other in (alone, mixed):
            np.testing.assert_allclose(other[clip_id], samples, rtol=0, atol=1e-3 * level)


def test_seed_prompt_steps_and_guidance_change_a_sound(open_model: Open, requests: list[Request]) -> None:
    first = requests[0]
    sound = sounds(open_model(), [first])["0"]
    others = [
        sounds(open_model(), [replace(first, seed=first.seed + 1)]),
        sounds(open_model(), [replace(first, clip=replace(first.clip, prompt="a dog"))]),
        sounds(open_model(steps=3), [first]),
        sounds(open_model(guidance_scale=0.5), [first]),
        sounds(open_model(method="heun"), [first]),
        sounds(open_model(negative_prompt="music"), [first]),
    ]
    for other in others:
        assert not np.allclose(other["0"], sound, rtol=0, atol=1e-5 * np.abs(sound).max())


def test_conditions_are_computed_once_for_each_clip(
    open_model: Open, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()
    _count(monkeypatch, calls, clip_network.VisionTower, "pictures")
    _count(monkeypatch, calls, clip_network.TextTower, "texts")
    _count(monkeypatch, calls, MMAudioNetwork, "velocities")
    monkeypatch.setattr(MMAudioNetwork, "embed", _counted(MMAudioNetwork.embed, calls, "embeddings"))
    sounds(open_model(steps=5, batch_size=1), requests)
    assert calls == {"pictures": 3, "texts": 3, "velocities": 15, "embeddings": 3}
    sounds(open_model(steps=4, batch_size=3), [*requests])
    # On a CPU a batch is done clip by clip.
    assert calls == {"pictures": 3, "texts": 3, "velocities": 27, "embeddings": 6}


def _count(monkeypatch: pytest.MonkeyPatch, calls: Counter[str], kind: type, name: str) -> None:
    monkeypatch.setattr(kind, "forward", _counted(kind.forward, calls, name))


def _counted(function: Callable[..., object], calls: Counter[str], name: str) -> Callable[..., object]:
    def counted(*arguments: object, **named: object) -> object:
        calls[name] += 1
        return function(*arguments, **named)

    return counted


def test_the_encoders_are_gone_before_the_network_comes(
    open_model: Open, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[object] = []
    model = open_model(negative_prompt="music")
    original = ConditionStore.compute

    def compute(self: ConditionStore, *arguments: object) -> None:
        original(self, *arguments)  # type: ignore[arg-type]
        assert "network" not in model.__dict__
        alive.append(self.extractor._loaded)

    monkeypatch.setattr(ConditionStore, "compute", compute)
    next(iter(model.generate(requests[:1])))
    assert "network" in model.__dict__
    assert alive[:3] == [{}, {}, {}]
    assert "_encoder" not in model.codec.__dict__


def test_pictures_that_end_early(open_model: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = {
        name: make_video(tmp_path / f"{name}.mp4", seconds) for name, seconds in (("a", 0.9), ("b", 0.7))
    }
    made = [Request(Clip(name, path), 1.0, 0) for name, path in paths.items()]
    given, fault = open_model().condition(made)
    assert not isinstance(given, ClipFault)
    assert given["clip"].shape == (8, 32)
    assert torch.equal(given["clip"][6], given["clip"][7])
    assert "a: its last picture stands still" in caplog.text
    assert "b:" not in caplog.text
    assert isinstance(fault, ClipFault)
    assert fault.code == "too-short"
    assert "too early for the 1 s of sound" in fault.detail


def test_clips_that_cannot_be_used_fail_with_a_reason(
    open_model: Open, requests: list[Request], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    wanted = [
        replace(requests[0], clip=Clip("gone", tmp_path / "gone.mp4")),
        replace(requests[0], clip=Clip("broken", broken)),
        replace(requests[0], seconds=0.5),
        requests[1],
    ]
    answers = list(open_model().generate(wanted))
    codes = [answer.fault.code if answer.fault else "ok" for answer in answers]
    assert codes == ["missing", "unreadable", "too-short", "ok"]


def test_latents_are_encoded_and_decoded(open_model: Open) -> None:
    model = open_model()
    rng = np.random.default_rng(0)
    stereo = Audio(rng.uniform(-0.5, 0.5, (2, 48000)).astype(np.float32), 44100)
    latents = model.encode([stereo, stereo], 1.0)
    assert latents.shape == (2, *model.latent_shape(1.0)) == (2, 32, 20)
    assert torch.equal(latents[0], latents[1])
    unnormalised = model.network.unnormalise(latents)
    mono = torch.from_numpy(model._waveform(stereo, 16384).numpy())
    torch.testing.assert_close(model.codec.encode(mono[None]).mean, unnormalised[:1], rtol=1e-3, atol=1e-4)
    (sound, _) = model.decode(latents)
    assert sound.samples.shape == (1, 16384)
    with pytest.raises(ClipFault, match=r"too-short: 1\.024 s of sound are needed"):
        model.encode([Audio(stereo.samples[:, :44100], 44100)], 1.0)


def test_the_network_can_be_trained_after_sampling(open_model: Open, requests: list[Request]) -> None:
    model = open_model()
    sounds(model, requests[:1])
    told = model.condition(requests)
    conditions = stack([given for given in told if not isinstance(given, ClipFault)], "cpu")
    latents = torch.stack(
        [torch.randn(model.latent_shape(1.0), generator=torch.Generator().manual_seed(n)) for n in range(3)]
    )
    model.network.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=1e-3)
    losses = []
    for _ in range(8):
        loss = model.training_loss(latents, conditions, torch.Generator().manual_seed(0)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert sample_latents(model, conditions, latents).shape == latents.shape


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_close_and_in_the_recipe(
    open_model: Open, requests: list[Request], precision: str
) -> None:
    full, half = open_model(guidance_scale=1.0), open_model(guidance_scale=1.0, precision=precision)
    assert half.recipe != full.recipe
    expected, found = sounds(full, requests[:1])["0"], sounds(half, requests[:1])["0"]
    assert not np.array_equal(found, expected)
    assert np.corrcoef(found[0], expected[0])[0, 1] > 0.9


def test_the_network_is_compiled_on_request(
    open_model: Open, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[object] = []
    monkeypatch.setattr(torch, "compile", lambda module: compiled.append(module) or module)
    sounds(open_model(), requests[:1])
    assert compiled == []
    model = open_model(compile=True)
    sounds(model, requests[:2])
    assert compiled == [model.network]
    assert model.recipe["compile"]


def test_the_recipe_says_what_sounds_depend_on(open_model: Open) -> None:
    recipe = dict(open_model(negative_prompt="music").recipe)
    assert recipe == {
        "steps": 2,
        "guidance_scale": 4.5,
        "method": "euler",
        "precision": "float32",
        "compile": False,
        "negative_prompt": "music",
        "weights mmaudio_small_16k": "deterministic",
        "weights mmaudio_vae_16k": "deterministic",
        "weights bigvgan_16k": "deterministic",
        "weights clip_dfn5b": "deterministic",
        "weights synchformer": "deterministic",
    }


def test_models_are_registered_and_say_what_they_are(clips: Dataset) -> None:
    sizes = {"small-16k": 157, "small-44k": 157, "medium-44k": 622, "large-44k": 1030, "large-44k-v2": 1031}
    for name, millions in sizes.items():
        named = open_spec(f"mmaudio-{name}", ModelContext(clips))
        assert named.info.name == f"mmaudio-{name}"
        assert round((named.info.parameters or 0) / 1e6) == millions
        assert named.info.sample_rate == (16000 if "16k" in name else 44100)
        assert "NC" in (named.info.license or "")
        assert named.info.text_conditioned
    assert open_spec("mmaudio", ModelContext(clips)).info.name == "mmaudio-large-44k"
    with pytest.raises(UnknownNameError, match="did you mean 'mmaudio-large-44k'"):
        open_spec("mmaudio-large", ModelContext(clips))
    with pytest.raises(V2ABenchError, match="takes nothing behind a colon"):
        open_variant("mmaudio-small-16k", "x", ModelContext(clips))


def test_without_weights_and_offline_the_error_names_the_remedy(clips: Dataset, cache: Path) -> None:
    extractor = Extractor(cache / "features", Window(seconds=1.0))
    with pytest.raises(WeightsUnavailableError, match="weights pull mmaudio_small_16k"):
        open_spec("mmaudio-small-16k", ModelContext(clips, extractor=extractor, offline=True))


def test_check_is_told_that_there_are_no_files(clips: Dataset, requests: list[Request]) -> None:
    model = open_spec("mmaudio-small-16k", ModelContext(clips)).model
    with pytest.raises(V2ABenchError, match="makes its sound when asked"):
        next(iter(model.generate(requests)))


def test_options_not_given_leave_the_protocol_s(clips: Dataset) -> None:
    model = open_spec("mmaudio", ModelContext(clips, options=GenerationOptions(steps=7))).model
    assert isinstance(model, MMAudio)
    chosen = model.sampling
    assert (chosen.steps, chosen.guidance_scale, chosen.method) == (7, 4.5, "euler")
