"""From waveforms to MMAudio's latents and back: mel spectrogram, autoencoder, vocoder."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from v2abench.baselines.mmaudio.autoencoder import (
    AUTOENCODER_16K,
    AUTOENCODER_44K,
    AutoencoderConfig,
    Decoder,
    Encoder,
    MelStatistics,
    Posterior,
    fold_magnitudes,
)
from v2abench.baselines.mmaudio.variants import LATENT_STRIDE, CodecName
from v2abench.baselines.vocoders.bigvgan import (
    BIGVGAN_16K,
    BIGVGAN_44K,
    BigVGAN,
    BigVGANConfig,
    deterministic_bigvgan,
    load_bigvgan,
)
from v2abench.baselines.vocoders.mel import MEL_16K, MEL_44K, MelConfig, log_mel
from v2abench.weights.checkpoints import read_checkpoint
from v2abench.weights.deterministic import deterministic_state, is_deterministic
from v2abench.weights.fetching import require

Half = TypeVar("Half", Encoder, Decoder)


@dataclass(frozen=True)
class CodecConfig:
    """The parts of a codec, and the weights of autoencoder and vocoder."""

    mel: MelConfig
    autoencoder: AutoencoderConfig
    vocoder: BigVGANConfig
    weights: tuple[str, str]

    def length(self, seconds: float) -> int:
        """Return the places of the latent of so many seconds."""
        return math.ceil(seconds * self.mel.sample_rate / self.mel.hop / LATENT_STRIDE)

    def samples(self, seconds: float) -> int:
        """Return the samples that such a latent stands for: so many seconds, or up to a frame more."""
        return self.length(seconds) * LATENT_STRIDE * self.mel.hop


CODECS: Mapping[CodecName, CodecConfig] = {
    "16k": CodecConfig(MEL_16K, AUTOENCODER_16K, BIGVGAN_16K, ("mmaudio_vae_16k", "bigvgan_16k")),
    "44k": CodecConfig(MEL_44K, AUTOENCODER_44K, BIGVGAN_44K, ("mmaudio_vae_44k", "bigvgan_44k")),
}


class Codec:
    """A codec on a device; each part is loaded when it is first used.

    Deterministic weights have no statistics of mel bands: mean 0 and deviation 1 stand in.
    """

    def __init__(self, config: CodecConfig, device: str) -> None:
        self.config = config
        self.device = device

    @torch.no_grad()
    def encode(self, waveforms: Tensor) -> Posterior:
        """Return the posterior, each part (B, L, C), of (B, samples) mono waveforms."""
        mean, deviation = self._statistics
        mel = (log_mel(waveforms.to(self.device), self.config.mel) - mean) / deviation
        return Posterior(*(part.transpose(1, 2) for part in self._encoder(mel)))

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Return the (B, samples) waveforms of (B, L, C) latents."""
        mean, deviation = self._statistics
        # One by one, so that memory does not grow with the batch, nor values depend on it.
        mels = [self._decoder(latent.mT[None]) * deviation + mean for latent in latents.to(self.device)]
        return torch.cat([self._vocoder(mel)[:, 0] for mel in mels])

    @cached_property
    def _encoder(self) -> Encoder:
        return self._half(Encoder)

    @cached_property
    def _decoder(self) -> Decoder:
        return self._half(Decoder)

    @cached_property
    def _statistics(self) -> MelStatistics:
        if is_deterministic():
            ones = torch.ones(1, self.config.autoencoder.bands, 1, device=self.device)
            return MelStatistics(torch.zeros_like(ones), ones)
        state = read_checkpoint(require(self.config.weights[0]))
        return MelStatistics(*(state[name].to(self.device) for name in ("data_mean", "data_std")))

    @cached_property
    def _vocoder(self) -> BigVGAN:
        if is_deterministic():
            return deterministic_bigvgan(self.config.vocoder).to(self.device)
        state = read_checkpoint(require(self.config.weights[1]))["generator"]
        return load_bigvgan(self.config.vocoder, state).to(self.device)

    def _half(self, kind: type[Half]) -> Half:
        prefix = kind.__name__.lower()
        with torch.device("meta"):
            module = nn.ModuleDict({prefix: kind(self.config.autoencoder)})
        if is_deterministic():
            state = deterministic_state(module.state_dict())
        else:
            whole = read_checkpoint(require(self.config.weights[0]))
            state = {name: entry for name, entry in whole.items() if name.startswith(f"{prefix}.")}
        module.load_state_dict(state, strict=True, assign=True)
        half = cast(Half, module[prefix].eval().requires_grad_(False))
        fold_magnitudes(half)
        return half.to(self.device)
