"""Frieren's mel spectrogram, autoencoder and vocoder against the reference's arrays."""

import numpy as np
import pytest
import torch
from deterministic import fill_, values, wave
from frieren_reference import GOLDEN, TINY_AUTOENCODER, recorded_input, unit
from parity import assert_parity, entries, recorded, shapes
from torch import Tensor

from v2abench.baselines.frieren import autoencoder
from v2abench.baselines.frieren.autoencoder import SCALE, AutoencoderSize, MelDecoder, MelEncoder
from v2abench.baselines.vocoders.bigvgan import (
    BIGVGAN_16K,
    BigVGAN,
    BigVGANConfig,
    antialiasing_filter,
    checkpoint_shapes,
    load_bigvgan,
)
from v2abench.baselines.vocoders.mel import MEL_16K, log_mel, mel_bank

TINY_VOCODER = BigVGANConfig(16, (4, 2), (8, 4), bias=True, output="tanh", width=32, block_kernels=(3, 7))
SIZES = pytest.mark.parametrize(
    ("tag", "size"), [("tiny", TINY_AUTOENCODER), ("real", autoencoder.OFFICIAL)], ids=["tiny", "real"]
)
VOCODERS = pytest.mark.parametrize(
    ("tag", "config"), [("tiny", TINY_VOCODER), ("real", BIGVGAN_16K)], ids=["tiny", "real"]
)


def test_the_mel_spectrogram_is_that_of_the_reference() -> None:
    mel = log_mel(torch.from_numpy(wave(8.192, 16000, seed=3)[None]), MEL_16K)
    assert_parity(mel, GOLDEN["mel"], 1e-5)
    assert_parity(mel_bank(MEL_16K).sum(axis=1), GOLDEN["mel_basis_rowsum"], 1e-6)
    assert_parity(mel_bank(MEL_16K)[40], GOLDEN["mel_basis_row40"], 1e-6)


def test_a_spectrogram_has_a_frame_for_256_samples_and_silence_is_low() -> None:
    quiet = log_mel(torch.zeros(2, 128000), MEL_16K)
    assert quiet.shape == (2, 80, 500)
    assert float(quiet.max()) < -4
    loud = 1000 * torch.from_numpy(wave(1.0, 16000)[None])
    torch.testing.assert_close(log_mel(loud, MEL_16K), log_mel(loud.clamp(-1, 1), MEL_16K))


def test_entries_are_those_of_the_checkpoint() -> None:
    with torch.device("meta"):
        found = {**shapes(MelEncoder()), **shapes(MelDecoder())}
    assert {f"first_stage_model.{name}": shape for name, shape in found.items()} == entries("frieren_vae")


def close_inside(outputs: dict[str, Tensor], prefix: str) -> None:
    golden = {key.removeprefix(prefix): GOLDEN[key] for key in GOLDEN if key.startswith(prefix)}
    assert len(golden) >= 6
    for name, expected in golden.items():
        corner = tuple(slice(length) for length in expected.shape)
        assert_parity(outputs[name][corner], expected)


def inner_names(prefix: str) -> list[str]:
    return [key.removeprefix(prefix) for key in GOLDEN if key.startswith(prefix)]


@SIZES
@torch.inference_mode()
def test_the_encoder_is_that_of_the_reference(tag: str, size: AutoencoderSize) -> None:
    encoder = fill_(MelEncoder(size)).eval()
    mel = unit("input.mel", 2, 16, 128) if tag == "tiny" else torch.from_numpy(GOLDEN["mel"])
    with recorded(encoder.encoder, inner_names(f"{tag}.vae.enc_mid.")) as outputs:
        mean, deviation = encoder(mel)
    close_inside(outputs, f"{tag}.vae.enc_mid.")
    assert_parity(mean, GOLDEN[f"{tag}.vae.mean"])
    assert_parity(deviation, GOLDEN[f"{tag}.vae.std"])


@SIZES
@torch.inference_mode()
def test_the_decoder_is_that_of_the_reference(tag: str, size: AutoencoderSize) -> None:
    decoder = fill_(MelDecoder(size)).eval()
    shape = GOLDEN[f"{tag}.vae.mean"].shape
    with recorded(decoder.decoder, inner_names(f"{tag}.vae.dec_mid.")) as outputs:
        mel = decoder(unit("input.z", *shape))
    close_inside(outputs, f"{tag}.vae.dec_mid.")
    assert_parity(mel, GOLDEN[f"{tag}.vae.dec"])
    sampled = torch.from_numpy(GOLDEN[f"{tag}.euler4.traj"][-1])
    assert_parity(decoder(sampled / SCALE), GOLDEN[f"{tag}.euler4.mel"])


def test_the_standard_deviation_is_bounded() -> None:
    encoder = fill_(MelEncoder(TINY_AUTOENCODER)).eval()
    encoder.quant_conv.bias.data[4:] = 100.0
    _, deviation = encoder(unit("input.mel", 2, 16, 128))
    torch.testing.assert_close(deviation, torch.full_like(deviation, float(np.exp(10))))


@VOCODERS
@torch.inference_mode()
def test_the_vocoder_is_that_of_the_reference(tag: str, config: BigVGANConfig) -> None:
    generator = reference_vocoder(config)
    mel = unit("input.vocmel", 2, 16, 24) if tag == "tiny" else torch.from_numpy(GOLDEN["mel"][..., 100:124])
    first = "resblocks.0.activations.0.upsample"
    names = [name for name in inner_names(f"{tag}.voc.mid.") if name != first]
    nonlinearity = generator.get_submodule("resblocks.0.activations.0.act")
    with recorded(generator, names) as outputs, recorded_input(nonlinearity) as upsampled:
        raw = generator.raw(mel)
    outputs[first] = upsampled[0]
    close_inside(outputs, f"{tag}.voc.mid.")
    # With these weights the tanh of the full size is saturated: only what goes into it tells.
    assert_parity(raw.tanh(), GOLDEN[f"{tag}.voc.wav"], 1e-4 if tag == "tiny" else 1e-2)


def test_the_vocoder_s_filter_is_that_of_the_reference() -> None:
    for name in ("voc.filter", "voc.filter_down"):
        assert_parity(antialiasing_filter().flatten(), GOLDEN[name], 1e-6)


def reference_vocoder(config: BigVGANConfig) -> BigVGAN:
    state = {
        name: antialiasing_filter() if name.endswith(".filter") else values(name, shape)
        for name, shape in checkpoint_shapes(config).items()
    }
    return load_bigvgan(config, state)
