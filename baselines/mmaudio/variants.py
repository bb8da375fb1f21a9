"""The released variants of MMAudio, as data."""

from dataclasses import dataclass
from typing import Literal

from v2abench.baselines.mmaudio.network import NetworkConfig

CLIP_RATE = 8
"""Pictures a second that CLIP sees."""

SYNC_RATE = 25
"""Pictures a second that Synchformer sees."""

LATENT_STRIDE = 2
"""Frames of the spectrogram for one of the latent."""

CodecName = Literal["16k", "44k"]


@dataclass(frozen=True)
class Variant:
    """One released network and the autoencoder whose latents it makes. `size` counts its parameters."""

    name: str
    network: NetworkConfig
    codec: CodecName
    weights: str
    size: int


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("mmaudio-small-16k", NetworkConfig(20, 448, 12, 8), "16k", "mmaudio_small_16k", 157_283_644),
        Variant("mmaudio-small-44k", NetworkConfig(40, 448, 12, 8), "44k", "mmaudio_small_44k", 157_409_144),
        Variant(
            "mmaudio-medium-44k", NetworkConfig(40, 896, 12, 8), "44k", "mmaudio_medium_44k", 621_805_944
        ),
        Variant(
            "mmaudio-large-44k", NetworkConfig(40, 896, 21, 14), "44k", "mmaudio_large_44k", 1_030_002_168
        ),
        Variant(
            "mmaudio-large-44k-v2",
            NetworkConfig(40, 896, 21, 14, v2=True),
            "44k",
            "mmaudio_large_44k_v2",
            1_030_575_608,
        ),
    )
}
