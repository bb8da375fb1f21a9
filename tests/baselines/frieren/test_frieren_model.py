"""Frieren as a flow model, at small sizes with deterministic weights: from videos to sounds and back."""

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from deterministic import wave

from v2abench.api import Options, evaluate
from v2abench.baselines.frieren import model as frieren
from v2abench.baselines.frieren.autoencoder import SCALE, AutoencoderSize
from v2abench.baselines.frieren.estimator import EstimatorSize
from v2abench.baselines.frieren.model import SECONDS, Architecture, Frieren
from v2abench.baselines.vocoders.bigvgan import BigVGANConfig
from v2abench.baselines.vocoders.mel import MEL_16K
from v2abench.clips import Clip, Dataset
from v2abench.contracts import Generated, Request
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.features.extraction import Extractor
from v2abench.media.audio import Audio
from v2abench.media.reading import read_audio
from v2abench.models import GenerationOptions, ModelContext, open_model
from v2abench.networks import cavp
from v2abench.protocols.schema import Protocol, Window
from v2abench.sampling import stack
from v2abench.weights.deterministic import Mode, weights_mode
from v2abench.weights.registry import WeightsUnavailableError

SMALL = Architecture(
    EstimatorSize(channels=4, context=24, width=64, heads=2, blocks=2, positions=257),
    AutoencoderSize(channels=4, widths=(32, 64, 128)),
    BigVGANConfig(80, (16, 16), (32, 32), bias=True, output="tanh", width=16, block_kernels=(3,)),
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frieren, "OFFICIAL", SMALL)
    monkeypatch.setattr(cavp, "_BLOCKS", (1, 1, 1, 1))
    monkeypatch.setattr(cavp, "SIZE", 32)


@pytest.fixture
def dataset(videos: Path) -> Dataset:
    clips = [Clip(path.stem, path) for path in sorted(videos.iterdir())]
    return Dataset("videos", str(videos), tuple(clips))


def opened(
    dataset: Dataset,
    cache: Path,
    spec: str = "frieren-distilled",
    weights: Mode = "deterministic",
    **options: object,
) -> Frieren:
    extractor = Extractor(cache / "features", Window(seconds=2.0))
    context = ModelContext(dataset, extractor=extractor, options=GenerationOptions(**options))
    with weights_mode(weights):
        model = open_model(spec, context).model
    assert isinstance(model, Frieren)
    return model


def requests(dataset: Dataset, count: int, seconds: float = 2.0) -> list[Request]:
    return [Request(clip, seconds, seed) for seed, clip in enumerate(dataset.clips[:count])]


def samples(answer: Generated) -> np.ndarray:
    assert answer.audio is not None
    return answer.audio.samples


def test_an_evaluation_goes_all_the_way_with_the_full_encoder(
    dataset: Dataset, protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cavp, "_BLOCKS", (3, 4, 6, 3))
    monkeypatch.setattr(cavp, "SIZE", 224)
    one = replace(dataset, clips=dataset.clips[2:3])
    run = evaluate(
        "frieren-distilled",
        one,
        protocol,
        Options(output=tmp_path, device="cpu", weights="deterministic", bootstrap=0),
    )
    assert run.report.coverage.ok == 1
    assert run.report.model.recipe["weights frieren_distilled"] == "deterministic"
    assert "Loudness" in {score.name for score in run.report.scores if score.value is not None}
    sound = read_audio(run.folder / "audio" / f"{one.clips[0].id}.flac")
    assert (sound.sample_rate, sound.samples.shape) == (16000, (1, 32000))
    assert np.abs(sound.samples).max() > 0


def test_a_sound_depends_on_its_video_and_seed_alone(dataset: Dataset, cache: Path) -> None:
    asked = requests(dataset, 2)
    together = list(opened(dataset, cache, batch_size=2).generate(asked))
    alone = list(opened(dataset, cache, batch_size=1).generate(asked[::-1]))[::-1]
    assert [answer.clip_id for answer in together] == [request.clip.id for request in asked]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(samples(one), samples(other), rtol=0, atol=1e-5)
    (other_seed,) = opened(dataset, cache).generate([replace(asked[0], seed=7)])
    (other_video,) = opened(dataset, cache).generate([replace(asked[1], seed=asked[0].seed)])
    for changed in (other_seed, other_video):
        assert np.abs(samples(changed) - samples(together[0])).max() > 1e-4


def test_conditions_are_computed_once_a_clip_and_embedded_once_a_batch(
    dataset: Dataset, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded, embedded, fields = [], [], []
    encode = cavp.VideoTower.forward
    monkeypatch.setattr(
        cavp.VideoTower, "forward", lambda self, pixels: encoded.append(1) or encode(self, pixels)
    )
    model = opened(dataset, cache, "frieren", steps=5, batch_size=1)
    embed = model.network.embed
    monkeypatch.setattr(model.network, "embed", lambda told: embedded.append(1) or embed(told))
    model.network.register_forward_hook(lambda *_: fields.append(1))
    list(model.generate(requests(dataset, 2)))
    assert (len(encoded), len(embedded), len(fields)) == (2, 2, 10)
    list(opened(dataset, cache, batch_size=2).generate(requests(dataset, 2)))
    assert len(encoded) == 2


def test_the_encoder_is_gone_before_the_flow_network_comes(
    dataset: Dataset, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    towers: list[weakref.ref[cavp.VideoTower]] = []
    alive: list[bool] = []
    build, load = cavp.VideoTower.__init__, Frieren._load

    def built(self: cavp.VideoTower) -> None:
        towers.append(weakref.ref(self))
        build(self)

    def loaded(self: Frieren, *arguments: object) -> object:
        gc.collect()
        alive.extend(tower() is not None for tower in towers)
        return load(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(cavp.VideoTower, "__init__", built)
    monkeypatch.setattr(Frieren, "_load", loaded)
    list(opened(dataset, cache).generate(requests(dataset, 1)))
    assert alive == [False, False]


def test_conditions_are_32_rows_repeated_from_a_short_video(dataset: Dataset, cache: Path) -> None:
    (told,) = opened(dataset, cache).condition(requests(dataset, 1))
    assert not isinstance(told, ClipFault)
    rows = told["rows"]
    assert (rows.shape, rows.dtype) == ((32, 512), torch.float32)
    assert torch.equal(rows[8:16], rows[:8])
    assert not torch.equal(rows[1], rows[5])


def test_guidance_has_rows_of_zeros_for_its_other_branch(dataset: Dataset, cache: Path) -> None:
    model = opened(dataset, cache)
    given = {"rows": torch.ones(2, 32, 512)}
    assert not model.empty(given)["rows"].any()
    embedded = model.embed(model.empty(given))["frames"]
    assert embedded.shape == (2, 256, 32)
    torch.testing.assert_close(embedded, embedded[:1, :1].expand(2, 256, -1))


def test_times_are_rounded_to_the_thousandths_of_training(dataset: Dataset, cache: Path) -> None:
    model = opened(dataset, cache)
    seen: list[torch.Tensor] = []
    model.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    x, told = torch.zeros(6, 4, 256), model.embed({"rows": torch.zeros(6, 32, 512)})
    times = torch.tensor([0.0, 0.0004, 0.19999999, 0.36, 0.9996, 1.0])
    model.velocity(x, times, told)
    assert seen[0].tolist() == [0, 0, 200, 360, 999, 999]


def test_a_missing_video_is_told_and_the_others_are_made(dataset: Dataset, cache: Path) -> None:
    asked = requests(dataset, 3)
    lost = replace(asked[1], clip=Clip("lost", Path("nowhere.mp4")))
    first, second, third = opened(dataset, cache).generate([asked[0], lost, asked[2]])
    assert second.fault is not None
    assert second.fault.code == "missing"
    assert samples(first).shape == samples(third).shape == (1, 32000)


@pytest.mark.parametrize(("seconds", "length"), [(0.5, 8000), (8.0, 128000), (10.0, 131072)])
def test_a_sound_is_cut_to_what_was_asked(dataset: Dataset, cache: Path, seconds: float, length: int) -> None:
    (answer,) = opened(dataset, cache).generate(requests(dataset, 1, seconds))
    assert samples(answer).shape == (1, length)


def test_latents_are_the_scaled_means_and_become_sound(dataset: Dataset, cache: Path) -> None:
    model = opened(dataset, cache)
    stereo = Audio(np.stack([wave(9.0, 32000), -wave(9.0, 32000) / 2]), 32000)
    mono = Audio(wave(8.0, 16000)[None], 16000)
    latents = model.encode([stereo, mono], 8.0)
    assert latents.shape == (2, *model.latent_shape(8.0))
    assert not latents.requires_grad
    mean, _ = model._encoder(frieren._repeated(frieren.log_mel(torch.from_numpy(mono.samples), MEL_16K), 512))
    torch.testing.assert_close(latents[1:], SCALE * mean)
    sounds = model.decode(latents)
    assert [(sound.samples.shape, sound.sample_rate) for sound in sounds] == [((1, 131072), 16000)] * 2
    assert sounds[0].seconds == SECONDS == 8.192


def test_the_network_can_be_trained_after_sampling(dataset: Dataset, cache: Path) -> None:
    model = opened(dataset, cache)
    list(model.generate(requests(dataset, 1)))
    told = model.condition(requests(dataset, 2))
    conditions = stack([given for given in told if not isinstance(given, ClipFault)], "cpu")
    model.network.requires_grad_(True)
    latents = torch.randn(2, *model.latent_shape(2.0), generator=torch.Generator().manual_seed(1))
    losses = model.training_loss(latents, conditions, torch.Generator().manual_seed(0))
    assert losses.shape == (2,)
    losses.mean().backward()
    gradients = [parameter.grad for parameter in model.network.parameters()]
    assert all(gradient is not None and bool(gradient.any()) for gradient in gradients)


def test_a_short_sound_s_spectrogram_is_repeated_and_a_shorter_one_refused(
    dataset: Dataset, cache: Path
) -> None:
    assert frieren._repeated(torch.arange(5), 12).tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    model = opened(dataset, cache)
    sound = Audio(wave(4.0, 16000)[None], 16000)
    assert model.encode([sound], 4.05).shape == (1, 4, 256)
    with pytest.raises(ClipFault, match=r"too-short: 4\.00 s of sound, where 8 s are to be encoded"):
        model.encode([sound], 8.0)


@pytest.mark.parametrize("changed", [{"precision": "bfloat16"}, {"method": "heun", "steps": 2}, {"steps": 2}])
def test_options_change_the_sound_and_the_recipe(
    dataset: Dataset, cache: Path, changed: dict[str, object]
) -> None:
    plain, other = opened(dataset, cache), opened(dataset, cache, **changed)
    (first,), (second,) = (list(model.generate(requests(dataset, 1))) for model in (plain, other))
    assert 0 < np.abs(samples(first) - samples(second)).max() < 0.5
    assert dict(plain.recipe) != dict(other.recipe)


def test_the_network_is_compiled_on_request(
    dataset: Dataset, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[object] = []
    monkeypatch.setattr(torch, "compile", lambda module: compiled.append(module) or module)
    list(opened(dataset, cache).generate(requests(dataset, 1)))
    assert compiled == []
    model = opened(dataset, cache, compile=True)
    list(model.generate(requests(dataset, 1)))
    assert compiled == [model.network]


def test_the_variants_are_sampled_as_they_were_made(
    dataset: Dataset, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frieren, "OFFICIAL", Architecture())
    for name, steps in (("frieren", 25), ("frieren-reflow", 25), ("frieren-distilled", 1)):
        model = opened(dataset, cache, name)
        assert (model.info.name, model.info.parameters) == (name, 158_882_708 + 512 * 768 + 768)
        assert (model.sampling.steps, model.sampling.guidance_scale) == (steps, 4.5)
        assert model.latent_shape(8.0) == (20, 256)


def test_what_frieren_cannot_do_is_told(dataset: Dataset, cache: Path) -> None:
    with pytest.raises(V2ABenchError, match="--negative-prompt: frieren is not told of text"):
        opened(dataset, cache, "frieren", negative_prompt="music")
    with pytest.raises(V2ABenchError, match="frieren:large: frieren takes nothing behind a colon"):
        opened(dataset, cache, "frieren:large")


def test_without_its_weights_it_says_where_they_are(dataset: Dataset, cache: Path) -> None:
    told = r"drive\.google\.com/drive/folders/1q-.* `v2abench weights pull frieren_distilled --file FILE`"
    with pytest.raises(WeightsUnavailableError, match=told):
        opened(dataset, cache, weights="official")
