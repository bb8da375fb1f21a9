"""The sound half of CLAP (HTSAT-base)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from v2abench.contracts import Array, Forward, Prepared
from v2abench.errors import ClipFault
from v2abench.networks.clap.checkpoint import CHECKPOINTS, PACKAGE, known_checkpoint, load_half
from v2abench.networks.mel import slaney_bank

if TYPE_CHECKING:
    from v2abench.media.reading import AudioWindow

SAMPLE_RATE = 48000
SAMPLES = 480000
FRAME = 1024
HOP = 480
BANDS = 64


def log_mel(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (frames, 64) float32 log-mel spectrogram, in dB, of a 48 kHz waveform.

    `waveform` is (samples,), more than 512 of them; 1001 frames for 10 s.

    Source: LAION-AI/CLAP through av-benchmark (torchlibrosa's front end): Hann, centred,
    mirrored at the ends, 64 Slaney bands from 50 to 14000 Hz.
    """
    padded = np.pad(waveform.astype(np.float64), FRAME // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
    power = np.abs(np.fft.rfft(frames * hann)) ** 2
    mel = power @ slaney_bank(SAMPLE_RATE, FRAME, BANDS, 50, 14000)
    return (10 * np.log10(np.maximum(mel, 1e-10))).astype(np.float32)


def fill_up(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return exactly 10 s: repeated as often as it fits and followed by zeros, or a crop.

    Upstream crops at random. Here the place follows from the samples themselves, so that
    a sound always has the same features.
    """
    count = len(waveform)
    if count > SAMPLES:
        generator = np.random.default_rng(zlib.crc32(waveform.tobytes()))
        start = int(generator.integers(count - SAMPLES + 1))
        return waveform[start : start + SAMPLES]
    repeated = np.tile(waveform, SAMPLES // count)
    return np.pad(repeated, (0, SAMPLES - len(repeated)))


@dataclass(frozen=True)
class ClapAudio:
    """The `clap_audio` network: `embedding` (512,) float32 of length 1."""

    checkpoint: str = "music_speech_audioset"

    name: ClassVar[str] = "clap_audio"
    version: ClassVar[int] = 1
    modality: ClassVar[Literal["audio"]] = "audio"
    features: ClassVar[tuple[str, ...]] = ("embedding",)
    frames: ClassVar[None] = None
    memory: ClassVar[int] = 290_000_000
    package: ClassVar[str] = PACKAGE

    def __post_init__(self) -> None:
        known_checkpoint(self.checkpoint)

    @property
    def weights(self) -> tuple[str, ...]:
        """The checkpoint's entry in the registry."""
        return (CHECKPOINTS[self.checkpoint],)

    @property
    def parameters(self) -> Mapping[str, object]:
        """What changes the values."""
        return {"checkpoint": self.checkpoint}

    def prepare(self, media: AudioWindow) -> Prepared:
        """Return the log-mel spectrogram of 10 s, (1001, 64) float32; raises `ClipFault` under 0.1 s."""
        waveform = media.waveform(SAMPLE_RATE)
        if len(waveform) < SAMPLE_RATE // 10:
            seconds = len(waveform) / SAMPLE_RATE
            raise ClipFault("too-short", f"clap_audio needs 0.1 s of sound, the clip has {seconds:.3g} s")
        return Prepared({"mel": log_mel(fill_up(waveform))})

    def load(self, device: str) -> Forward:
        """Return the forward half with the weights on `device`; raises `V2ABenchError` without them."""
        model = load_half("audio", self.checkpoint).to(device)

        def forward(batch: Sequence[Prepared]) -> list[Mapping[str, Array]]:
            return [{"embedding": embedding} for embedding in embed(model, batch)]

        return forward


@torch.inference_mode()
def embed(model: nn.Module, batch: Sequence[Prepared]) -> NDArray[np.float32]:
    """Return the (clips, 512) embeddings of prepared clips."""
    device = next(model.parameters()).device
    mel = torch.from_numpy(np.stack([clip.inputs["mel"] for clip in batch])[:, None]).to(device)
    pooled = model.get_submodule("audio_model")(input_features=mel).pooler_output
    projected = model.get_submodule("audio_projection")(pooled)
    embeddings: NDArray[np.float32] = torch.nn.functional.normalize(projected, dim=-1).cpu().numpy()
    return embeddings
