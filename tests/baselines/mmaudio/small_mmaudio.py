"""MMAudio made small: the same parts, few of each, for tests of the whole path."""

from dataclasses import replace

import pytest

from v2abench.baselines.mmaudio import clip, codec, model
from v2abench.baselines.mmaudio.autoencoder import AutoencoderConfig
from v2abench.baselines.mmaudio.network import NetworkConfig
from v2abench.baselines.vocoders.bigvgan import BigVGANConfig
from v2abench.networks.synchformer import visual

CLIP = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 378, "layers": 1, "width": 80, "head_width": 80, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
NETWORK = NetworkConfig(20, 64, 3, 1, clip_channels=32, sync_channels=96, text_channels=32)


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `mmaudio-small-16k` tiny, with its rates and lengths as they are."""
    whole = visual.VisualEncoder
    monkeypatch.setattr(visual, "VisualEncoder", lambda: whole(width=96, depth=1, heads=4))
    monkeypatch.setattr(clip, "architecture", lambda: CLIP)
    vocoder = BigVGANConfig(80, (16, 16), (32, 32), bias=True, output="tanh", width=16, block_kernels=(3,))
    small = replace(codec.CODECS["16k"], autoencoder=AutoencoderConfig(80, 20, 16), vocoder=vocoder)
    monkeypatch.setitem(codec.CODECS, "16k", small)
    variant = replace(model.VARIANTS["mmaudio-small-16k"], network=NETWORK)
    monkeypatch.setitem(model.VARIANTS, "mmaudio-small-16k", variant)
