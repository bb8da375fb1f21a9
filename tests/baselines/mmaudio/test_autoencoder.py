"""MMAudio's mel spectrograms and autoencoders against the reference's arrays (`goldens/mmaudio_vae.npz`)."""

import numpy as np
import pytest
import torch
from deterministic import wave
from parity import GOLDENS, assert_parity, entries, recorded, shapes
from torch import Tensor, nn

from v2abench.baselines.mmaudio.autoencoder import (
    AUTOENCODER_16K,
    AUTOENCODER_44K,
    AutoencoderConfig,
    Decoder,
    Encoder,
    fold_magnitudes,
)
from v2abench.baselines.vocoders.mel import MEL_16K, MEL_44K, MelConfig, log_mel, mel_bank
from v2abench.weights.deterministic import deterministic_state, values

GOLDEN = np.load(GOLDENS / "mmaudio_vae.npz")
BOTH = pytest.mark.parametrize(
    ("name", "config", "mel_config", "samples"),
    [("16k", AUTOENCODER_16K, MEL_16K, 32768), ("44k", AUTOENCODER_44K, MEL_44K, 65536)],
    ids=["16k", "44k"],
)
ENCODER_PARTS = ("conv_in", "down.0.block.0", "down.0.downsample", "mid.attn_1", "mid.block_2")
DECODER_PARTS = ("conv_in", "mid.block_2", "up.1.upsample")


def half(kind: type[Encoder] | type[Decoder], config: AutoencoderConfig) -> Encoder | Decoder:
    """The half with deterministic weights under its names in the whole checkpoint."""
    prefix = kind.__name__.lower()
    with torch.device("meta"):
        module = nn.ModuleDict({prefix: kind(config)})
    module.load_state_dict(deterministic_state(module.state_dict()), assign=True)
    made = module[prefix].requires_grad_(False)
    assert isinstance(made, kind)
    fold_magnitudes(made)
    return made


def statistics(name: str) -> tuple[Tensor, Tensor]:
    return tuple(torch.from_numpy(GOLDEN[f"vae_{name}.data_{key}"])[None, :, None] for key in ("mean", "std"))


@BOTH
def test_entries_are_those_of_the_official_checkpoint(
    name: str, config: AutoencoderConfig, mel_config: MelConfig, samples: int
) -> None:
    with torch.device("meta"):
        module = nn.ModuleDict({"encoder": Encoder(config), "decoder": Decoder(config)})
    found = shapes(module) | dict.fromkeys(("data_mean", "data_std"), (1, config.bands, 1))
    assert found == entries(f"mmaudio_vae_{name}")


@BOTH
def test_the_spectrogram_agrees(
    name: str, config: AutoencoderConfig, mel_config: MelConfig, samples: int
) -> None:
    sound = torch.from_numpy(wave(samples / mel_config.sample_rate, mel_config.sample_rate))[None]
    assert_parity(log_mel(sound, mel_config), GOLDEN[f"vae_{name}.mel"])
    assert_parity(mel_bank(mel_config).sum(axis=1), GOLDEN[f"vae_{name}.mel_basis_rowsum"])
    loud = torch.cat([sound, 3 * sound / sound.abs().max()])
    clipped = log_mel(loud, mel_config)
    assert_parity(clipped[1:], log_mel(loud[1:].clamp(-1, 1), mel_config))
    assert clipped.shape == (2, config.bands, samples // mel_config.hop)


@BOTH
@torch.inference_mode()
def test_the_encoder_agrees(
    name: str, config: AutoencoderConfig, mel_config: MelConfig, samples: int
) -> None:
    encoder = half(Encoder, config)
    mean, deviation = statistics(name)
    mel = (torch.from_numpy(GOLDEN[f"vae_{name}.mel"]) - mean) / deviation
    with recorded(encoder, ENCODER_PARTS) as outputs:
        posterior = encoder(mel)
    assert_parity(posterior.mean, GOLDEN[f"vae_{name}.mean"])
    assert_parity(posterior.log_variance, GOLDEN[f"vae_{name}.logvar"])
    assert_parity(posterior.deviation, GOLDEN[f"vae_{name}.std"])
    for part in ENCODER_PARTS:
        assert_parity(outputs[part][:, ::64, :8], GOLDEN[f"vae_{name}.enc.{part}[:, ::64, :8]"])


@BOTH
@torch.inference_mode()
def test_the_decoder_agrees(
    name: str, config: AutoencoderConfig, mel_config: MelConfig, samples: int
) -> None:
    decoder = half(Decoder, config)
    mean, deviation = statistics(name)
    latent = values("input.latent", (1, config.latent_channels, 32), seed=3) * config.latent_channels**0.5
    latent = latent * (32**0.5)
    with recorded(decoder, DECODER_PARTS) as outputs:
        raw = decoder(latent)
    assert_parity(raw[:, :, :8], GOLDEN[f"vae_{name}.decode_raw[:, :, :8]"])
    assert_parity(raw * deviation + mean, GOLDEN[f"vae_{name}.decode"])
    for part in DECODER_PARTS:
        assert_parity(outputs[part][:, ::64, :8], GOLDEN[f"vae_{name}.dec.{part}[:, ::64, :8]"])
