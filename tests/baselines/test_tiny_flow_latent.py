"""tiny-flow's latent: the spectrogram, its inversion, and the principal components."""

import numpy as np
import pytest
import torch
from torch import Tensor

from v2abench.baselines.tiny_flow.latent import COMPONENTS, LatentSpace, fit
from v2abench.baselines.tiny_flow.spectrogram import FLOOR, log_mel, waveforms
from v2abench.impacts.scenes import make_scene
from v2abench.impacts.sounds import render_sound


@pytest.fixture(scope="module")
def sounds() -> Tensor:
    """The sounds of six scenes, (6, 64000)."""
    return torch.stack([torch.from_numpy(render_sound(make_scene("val", i)).samples[0]) for i in range(6)])


@pytest.fixture(scope="module")
def space(sounds: Tensor) -> LatentSpace:
    return fit(log_mel(sounds))


def test_white_noise_has_its_power_in_every_band() -> None:
    noise = 0.1 * torch.randn(1, 16000 * 20, generator=torch.Generator().manual_seed(0))
    level = log_mel(noise).exp().mean(dim=1)
    np.testing.assert_allclose(level, 0.01, rtol=0.12)


def test_ten_milliseconds_are_one_frame_centred_on_their_middle() -> None:
    click = torch.zeros(1, 1600)
    click[0, 5 * 160 + 80] = 1
    mel = log_mel(click)
    assert mel.shape == (1, 10, 64)
    assert int(mel[0].mean(dim=1).argmax()) == 5


def test_silence_is_the_floor_and_comes_back_as_silence() -> None:
    mel = log_mel(torch.zeros(1, 1600))
    torch.testing.assert_close(mel, torch.full_like(mel, float(np.log(FLOOR))))
    assert waveforms(mel).abs().max() < 1e-3


def test_a_sound_made_of_a_spectrogram_has_that_spectrogram(sounds: Tensor) -> None:
    mel = log_mel(sounds)
    again = log_mel(waveforms(mel))
    loud = mel > mel.amax() - 10
    assert (again - mel)[loud].abs().mean() < 0.5


def test_inversion_is_deterministic_and_knows_no_batch(sounds: Tensor) -> None:
    mel = log_mel(sounds[:3])
    together = waveforms(mel)
    for index in range(3):
        assert torch.equal(waveforms(mel[index : index + 1])[0], together[index])


def test_components_are_uncorrelated_with_the_root_of_their_deviation(
    sounds: Tensor, space: LatentSpace
) -> None:
    latents = space.encode(sounds).reshape(-1, COMPONENTS)
    covariance = torch.cov(latents.T, correction=0)
    variances = covariance.diagonal()
    torch.testing.assert_close(covariance, torch.diag(variances), atol=1e-3, rtol=0)
    assert float(variances.mean()) == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(variances / variances[0], space.scale**2 / space.scale[0] ** 2, rtol=1e-2)


def test_what_the_components_leave_out_is_small(sounds: Tensor, space: LatentSpace) -> None:
    mel = log_mel(sounds)
    back = space.spectrogram(space.project(mel))
    assert back.shape == mel.shape
    assert (back - mel).square().mean() < 0.15 * mel.var()


def test_a_token_is_forty_milliseconds(sounds: Tensor, space: LatentSpace) -> None:
    assert space.encode(sounds[:2, :6400]).shape == (2, 10, COMPONENTS)
    assert space.decode(torch.zeros(1, 10, COMPONENTS)).shape == (1, 6400)
