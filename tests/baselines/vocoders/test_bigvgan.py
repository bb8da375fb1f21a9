"""BigVGAN against the reference implementation's arrays (`goldens/bigvgan.npz`)."""

import numpy as np
import pytest
import torch
from parity import GOLDENS, assert_parity, entries, recorded
from torch import Tensor

from v2abench.baselines.vocoders.bigvgan import (
    BIGVGAN_16K,
    BIGVGAN_44K,
    BigVGAN,
    BigVGANConfig,
    antialiasing_filter,
    checkpoint_shapes,
    deterministic_bigvgan,
    fold_weight_norm,
    load_bigvgan,
)
from v2abench.weights.deterministic import values

GOLDEN = np.load(GOLDENS / "bigvgan.npz")
MEL = np.load(GOLDENS / "mmaudio_vae.npz")
PLACES = {
    "conv_pre": (slice(None), slice(None, None, 128)),
    "ups.0": (slice(None), slice(None, None, 64), slice(32)),
    "resblocks.0.activations.0": (slice(None), slice(None, None, 64), slice(32)),
    "resblocks.0": (slice(None), slice(None, None, 64), slice(32)),
    "activation_post": (slice(None), slice(None), slice(64)),
    "conv_post": (),
}
SUFFIXES = {
    "conv_pre": "[:, ::128]",
    "activation_post": "[:, :, :64]",
    "conv_post": "",
}
SMALL = BigVGANConfig(8, (4, 2), (8, 4), bias=True, output="tanh", width=16)
CONFIGS = pytest.mark.parametrize(
    ("name", "config", "span"),
    [("16k", BIGVGAN_16K, slice(40, 72)), ("44k", BIGVGAN_44K, slice(20, 36))],
    ids=["16k", "44k"],
)


@pytest.fixture
def small() -> BigVGAN:
    return deterministic_bigvgan(SMALL)


def small_checkpoint() -> dict[str, Tensor]:
    return {name: values(name, shape) for name, shape in checkpoint_shapes(SMALL).items()}


@CONFIGS
def test_entries_are_those_of_the_official_checkpoint(name: str, config: BigVGANConfig, span: slice) -> None:
    assert checkpoint_shapes(config) == entries(f"bigvgan_{name}")


@CONFIGS
@torch.inference_mode()
def test_every_stage_agrees_with_the_reference(name: str, config: BigVGANConfig, span: slice) -> None:
    generator = deterministic_bigvgan(config)
    mel = torch.from_numpy(MEL[f"vae_{name}.mel"][:, :, span])
    blocks = [f"resblocks.{index}" for index in range(3)]
    with recorded(generator, [*PLACES, "ups.0.0", *blocks]) as outputs:
        wave = generator(mel)
    outputs["ups.0"] = outputs["ups.0.0"]
    # The reference adds the other blocks of the stage to the first one's output in place.
    outputs["resblocks.0"] = sum(outputs[block] for block in blocks)
    assert wave.shape == (1, 1, mel.shape[2] * config.hop)
    assert_parity(wave[:, :, :1024], GOLDEN[f"bigvgan_{name}.wave[:, :, :1024]"])
    for part, place in PLACES.items():
        golden = GOLDEN[f"bigvgan_{name}.{part}{SUFFIXES.get(part, '[:, ::64, :32]')}"]
        assert_parity(outputs[part][place], golden)
    assert_parity(antialiasing_filter().flatten(), GOLDEN[f"bigvgan_{name}.filter12"], 1e-6)


@torch.inference_mode()
def test_a_batch_gives_what_its_items_give_alone(small: BigVGAN) -> None:
    mel = values("mel", (3, 8, 20))
    alone = torch.cat([small(item[None]) for item in mel])
    torch.testing.assert_close(small(mel), alone, rtol=0, atol=1e-6)


@torch.inference_mode()
def test_all_names_of_weight_norm_are_understood(small: BigVGAN) -> None:
    old = small_checkpoint()
    renamed = {
        name.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): tensor
        for name, tensor in old.items()
    }
    mel = values("mel", (1, 8, 20))
    waves = [load_bigvgan(SMALL, state)(mel) for state in (old, renamed, fold_weight_norm(old))]
    assert waves[0].abs().max() > 0
    for wave in waves[1:]:
        assert torch.equal(wave, waves[0])


def test_a_checkpoint_of_another_make_is_refused() -> None:
    state = small_checkpoint()
    del state["conv_post.bias"]
    with pytest.raises(RuntimeError, match=r"conv_post\.bias"):
        load_bigvgan(SMALL, state)


@torch.inference_mode()
def test_the_two_ends_bound_the_waveform(small: BigVGAN) -> None:
    small.conv_post.weight *= 1e4
    mel = values("mel", (1, 8, 20))
    raw = small.raw(mel)
    assert raw.abs().max() > 1
    torch.testing.assert_close(small(mel), raw.tanh())
    clipped = BigVGAN(BigVGANConfig(8, (4, 2), (8, 4), bias=True, output="clamp", width=16))
    clipped.load_state_dict(small.state_dict())
    torch.testing.assert_close(clipped(mel), raw.clamp(-1, 1))
