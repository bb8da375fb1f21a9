"""tiny-flow with the shipped weights: the contract, and what its sounds depend on."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from v2abench.baselines.tiny_flow import weights
from v2abench.baselines.tiny_flow.model import TinyFlow, open_reconstruction, open_tiny_flow
from v2abench.clips import Clip, Dataset
from v2abench.contracts import Request
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.flow import Conditions, FlowModel, Sampling
from v2abench.impacts.datasets import impacts_dataset
from v2abench.media.audio import Audio
from v2abench.media.writing import write_video
from v2abench.models import GenerationOptions, ModelContext, open_model
from v2abench.sampling import noise_for, sample_latents, stack

TOLERANCE = 5e-3
"""Of full scale: by how much a sound may depend on the others of its batch."""

LOUD = slice(3, 4)
"""A clip of hard impacts."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return impacts_dataset("val", 6, cache=tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def requests(dataset: Dataset) -> list[Request]:
    return [Request(clip, 4.0, seed) for seed, clip in enumerate(dataset.clips)]


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> TinyFlow:
    return open_tiny_flow("", ModelContext(dataset))


@pytest.fixture(scope="module")
def conditions(model: TinyFlow, requests: list[Request]) -> Conditions:
    return stack([told for told in model.condition(requests) if not isinstance(told, ClipFault)], "cpu")


@pytest.fixture(scope="module")
def noise(model: TinyFlow, requests: list[Request]) -> Tensor:
    return torch.stack([noise_for(request.seed, model.latent_shape(4.0)) for request in requests])


@pytest.fixture(scope="module")
def samples(model: TinyFlow, conditions: Conditions, noise: Tensor) -> Tensor:
    return sample_latents(model, conditions, noise).clone()


def sounds(model: TinyFlow, requests: Sequence[Request]) -> list[NDArray[np.float32]]:
    return [answer.audio.samples for answer in model.generate(requests) if answer.audio is not None]


def test_it_is_a_flow_model_that_opens_by_name(dataset: Dataset) -> None:
    named = open_model("tiny-flow", ModelContext(dataset))
    model: FlowModel = named.model  # type: ignore[assignment]
    assert named.info.name == "tiny-flow"
    assert named.info.text_conditioned
    assert named.info.parameters is not None
    assert 0.5e6 < named.info.parameters < 2e6
    assert model.latent_shape(4.0) == (100, 64)


def test_the_shipped_weights_are_small() -> None:
    assert weights.SHIPPED.stat().st_size < 4e6
    assert (weights.SHIPPED.parent / "card.json").is_file()


def test_four_seconds_of_mono_come_out_at_16_khz(model: TinyFlow, requests: list[Request]) -> None:
    answers = list(model.generate(requests[:2]))
    assert [answer.clip_id for answer in answers] == [request.clip.id for request in requests[:2]]
    for answer in answers:
        assert answer.audio is not None
        assert answer.audio.sample_rate == 16000
        assert answer.audio.samples.shape == (1, 64000)
        assert answer.audio.samples.dtype == np.float32
        assert 0 < np.abs(answer.audio.samples).max() <= 1


def test_a_sound_is_the_same_every_time_and_another_for_another_seed(
    model: TinyFlow, requests: list[Request]
) -> None:
    first, again = (sounds(model, requests[LOUD])[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = sounds(model, [replace(requests[3], seed=77)])[0]
    assert np.abs(first - other).max() > 0.01


def test_a_sound_does_not_depend_on_batch_or_order(model: TinyFlow, requests: list[Request]) -> None:
    together = sounds(replace(model, batch_size=6), requests)
    alone = sounds(replace(model, batch_size=1), requests)
    backwards = sounds(replace(model, batch_size=4), requests[::-1])[::-1]
    for one, other, third in zip(together, alone, backwards, strict=True):
        np.testing.assert_allclose(one, other, atol=TOLERANCE)
        np.testing.assert_allclose(one, third, atol=TOLERANCE)


@pytest.mark.parametrize(
    "change", [{"guidance_scale": 0.0}, {"guidance_scale": 6.0}, {"steps": 3}, {"method": "heun"}]
)
def test_options_change_the_sound_and_the_recipe(
    change: dict[str, object], dataset: Dataset, model: TinyFlow, requests: list[Request]
) -> None:
    options = GenerationOptions(**change)  # type: ignore[arg-type]
    other = open_tiny_flow("", ModelContext(dataset, options=options))
    assert np.abs(sounds(other, requests[LOUD])[0] - sounds(model, requests[LOUD])[0]).max() > 0.01
    assert {name for name, value in other.recipe.items() if value != model.recipe[name]} == set(change)


def test_picture_and_prompt_are_heeded(model: TinyFlow, conditions: Conditions, noise: Tensor) -> None:
    told = sample_latents(model, conditions, noise)
    unseen = sample_latents(model, model.empty(conditions), noise)
    wordless = sample_latents(model, {**conditions, "words": 0 * conditions["words"]}, noise)
    assert (told - unseen).square().mean() > 0.05
    assert (told - wordless).square().mean() > 1e-3


def test_a_negative_prompt_is_what_guidance_leads_away_from(dataset: Dataset, conditions: Conditions) -> None:
    options = GenerationOptions(negative_prompt="metal")
    negative = open_tiny_flow("", ModelContext(dataset, options=options))
    empty = negative.empty(conditions)
    assert empty["words"].sum() == len(empty["words"])
    assert empty["seen"].sum() == 0


def test_words_that_are_not_known_say_nothing(model: TinyFlow, requests: list[Request]) -> None:
    asked = [replace(requests[0], clip=replace(requests[0].clip, prompt=p)) for p in ("Xylograph!", None)]
    for told in model.condition(asked):
        assert not isinstance(told, ClipFault)
        assert told["words"].sum() == 0


def test_conditions_know_no_batch_and_can_be_trained_on(model: TinyFlow, requests: list[Request]) -> None:
    together, alone = model.condition(requests[:2]), model.condition(requests[1:2])
    one, same = together[1], alone[0]
    assert not isinstance(one, ClipFault)
    assert not isinstance(same, ClipFault)
    for name, value in one.items():
        assert torch.equal(value, same[name])
        assert not value.is_inference()


def velocity_error(
    model: TinyFlow, told: Conditions, data: Tensor, *, flip_time: bool, flip_sign: bool
) -> float:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(data.shape, generator=generator)
    t = torch.rand(len(data), generator=generator)
    x_t = torch.lerp(noise, data, t[:, None, None])
    with torch.inference_mode():
        found = model.velocity(x_t, 1 - t if flip_time else t, model.embed(told))
    wanted = noise - data if flip_sign else data - noise
    return float((found - wanted).square().mean())


def test_time_runs_from_noise_to_data(model: TinyFlow, conditions: Conditions, samples: Tensor) -> None:
    right = velocity_error(model, conditions, samples, flip_time=False, flip_sign=False)
    assert right < 0.7 * velocity_error(model, conditions, samples, flip_time=True, flip_sign=False)
    assert right < 0.3 * velocity_error(model, conditions, samples, flip_time=False, flip_sign=True)


def test_the_velocity_has_gradients_in_every_parameter(
    dataset: Dataset, conditions: Conditions, samples: Tensor
) -> None:
    model = open_tiny_flow("", ModelContext(dataset))
    model.network.requires_grad_(True)
    embedded = model.embed({**conditions, "seen": torch.tensor([[1.0], [0.0]] * 3)})
    model.velocity(samples, torch.linspace(0, 1, 6), embedded).square().mean().backward()
    for name, parameter in model.network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_a_supervised_loss_made_of_the_contract_falls(
    dataset: Dataset, requests: list[Request], conditions: Conditions
) -> None:
    model = open_tiny_flow("", ModelContext(dataset))
    data = model.encode([reference_of(request) for request in requests], 4.0)
    noise = torch.randn(data.shape, generator=torch.Generator().manual_seed(1))
    t = torch.linspace(0.1, 0.9, len(data))
    x_t = torch.lerp(noise, data, t[:, None, None])
    optimizer = torch.optim.AdamW(model.network.requires_grad_(True).parameters(), 1e-4)
    losses = []
    for _ in range(4):
        loss = (model.velocity(x_t, t, model.embed(conditions)) - (data - noise)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.97 * losses[0]


def test_a_reconstruction_is_near_its_reference(dataset: Dataset, requests: list[Request]) -> None:
    bound = open_reconstruction("", ModelContext(dataset))
    assert bound.info.control
    latent = bound.model.parts.latent
    for request, answer in zip(requests[:3], bound.generate(requests[:3]), strict=True):
        assert request.clip.reference is not None
        assert answer.audio is not None
        original = bound.model.encode([reference_of(request)], 4.0)
        again = bound.model.encode([answer.audio], 4.0)
        assert (again - original).square().mean() < 0.2 * original.square().mean()
        loud, again_loud = (latent.spectrogram(x).amax(dim=2) for x in (original, again))
        assert (loud - again_loud).abs().mean() < 1.0


def reference_of(request: Request) -> Audio:
    from v2abench.media.reading import read_audio  # noqa: PLC0415

    assert request.clip.reference is not None
    return read_audio(request.clip.reference)


def test_sounds_of_any_rate_and_number_of_channels_are_encoded(model: TinyFlow) -> None:
    rng = np.random.default_rng(0)
    stereo = Audio((0.1 * rng.standard_normal((2, 48000 * 2))).astype(np.float32), 48000)
    assert model.encode([stereo], 2.0).shape == (1, 50, 64)
    with pytest.raises(ClipFault, match="too-short"):
        model.encode([stereo], 4.0)


def test_a_clip_without_reference_is_a_fault_of_the_reconstruction(dataset: Dataset) -> None:
    clip = replace(dataset.clips[0], reference=None)
    answer = next(open_reconstruction("", ModelContext(dataset)).generate([Request(clip, 4.0, 0)]))
    assert answer.fault is not None
    assert answer.fault.code == "missing"


@pytest.fixture
def odd_video(tmp_path: Path) -> Clip:
    """1.5 s of 30 fps in 120 × 70."""
    frames = np.random.default_rng(0).integers(0, 255, (45, 70, 120, 3), dtype=np.uint8)
    write_video(tmp_path / "odd.mp4", frames, Fraction(30))
    return Clip("odd", tmp_path / "odd.mp4")


def test_a_video_of_any_size_rate_and_length_gets_a_sound(model: TinyFlow, odd_video: Clip) -> None:
    answer = next(iter(model.generate([Request(odd_video, 1.5, 0)])))
    assert answer.audio is not None
    assert answer.audio.seconds == pytest.approx(1.5, abs=0.021)


def test_a_video_that_is_too_short_is_a_fault(model: TinyFlow, odd_video: Clip) -> None:
    for seconds in (0.2, 4.0):
        answer = next(iter(model.generate([Request(odd_video, seconds, 0)])))
        assert answer.fault is not None
        assert answer.fault.code == "too-short"


def test_a_missing_video_is_a_fault(model: TinyFlow) -> None:
    answer = next(iter(model.generate([Request(Clip("gone", Path("gone.mp4")), 4.0, 0)])))
    assert answer.fault is not None
    assert answer.fault.code == "missing"


def test_a_file_without_pictures_is_a_fault(model: TinyFlow, dataset: Dataset) -> None:
    reference = dataset.clips[0].reference
    assert reference is not None
    answer = next(iter(model.generate([Request(Clip("heard", reference), 4.0, 0)])))
    assert answer.fault is not None
    assert answer.fault.code == "no-video"


def test_more_than_it_can_make_is_told(model: TinyFlow) -> None:
    with pytest.raises(V2ABenchError, match="at most 16 s"):
        model.latent_shape(60)


@pytest.mark.parametrize(
    "options", [GenerationOptions(precision="bfloat16"), GenerationOptions(compile=True)]
)
def test_options_that_it_does_not_have_are_told(dataset: Dataset, options: GenerationOptions) -> None:
    with pytest.raises(V2ABenchError, match="float32"):
        open_tiny_flow("", ModelContext(dataset, options=options))


@pytest.mark.parametrize("options", [GenerationOptions(steps=0), GenerationOptions(batch_size=0)])
def test_sampling_without_a_step_or_a_clip_is_refused(dataset: Dataset, options: GenerationOptions) -> None:
    with pytest.raises(V2ABenchError, match="1 or more"):
        open_tiny_flow("", ModelContext(dataset, options=options))


def test_a_file_that_holds_no_weights_is_told(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"nothing")
    for argument in (tmp_path, tmp_path / "weights.safetensors", tmp_path / "gone"):
        with pytest.raises(V2ABenchError, match="cannot read weights"):
            open_tiny_flow(str(argument), ModelContext(dataset))


def test_weights_of_another_model_are_told(dataset: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_file({"weight": torch.zeros(1)}, file)
    with pytest.raises(V2ABenchError, match="holds no weights of 'tiny-flow 1'"):
        open_tiny_flow(str(file), ModelContext(dataset))


def test_weights_of_a_folder_are_opened(dataset: Dataset, model: TinyFlow) -> None:
    assert open_tiny_flow(str(weights.SHIPPED.parent), ModelContext(dataset)).recipe == model.recipe


def test_its_own_sampling_is_few_steps_of_guided_euler(model: TinyFlow) -> None:
    assert model.sampling.steps <= 25
    assert model.sampling.guidance_scale > 1
    assert isinstance(model.sampling, Sampling)
