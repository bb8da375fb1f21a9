"""The sound half of Synchformer: an audio spectrogram transformer (AST).

Gong, Chung and Glass, "AST: Audio Spectrogram Transformer", Interspeech 2021, in the
layout of Hugging Face transformers. A segment is 0.64 s at 16 kHz, every 0.32 s; each
is encoded by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from v2abench.contracts import Array, Forward, Prepared
from v2abench.errors import ClipFault
from v2abench.networks.synchformer.attention import AttentionPooling, attend
from v2abench.networks.synchformer.checkpoint import WEIGHTS, load_weights

if TYPE_CHECKING:
    from v2abench.media.reading import AudioWindow

SAMPLE_RATE = 16000
SEGMENT_SAMPLES = 10240
HOP_SAMPLES = 5120
BANDS = 128
FRAMES = 66

_FFT = 1024
_WINDOW = 400
_HOP = 160
_MEAN, _DEVIATION = -4.2677393, 4.5689974
_PATCH, _STRIDE = 16, 10
_ROWS, _STEPS = ((size - _PATCH) // _STRIDE + 1 for size in (BANDS, FRAMES))


def log_mel(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the normalised log-mel spectrogram of every segment, (S, 128, 66) float32.

    `waveform` is (samples,) at 16 kHz, at least one segment. Each segment is mirrored
    at its own ends; its 65 frames are filled up to 66 with log-mel 0.

    Source: av-benchmark@050a5cd, av_bench/data/audio_dataset.py:206-230 and
    av_bench/extract.py:18-40 (torchaudio's MelSpectrogram, here in float64).
    """
    segments = np.lib.stride_tricks.sliding_window_view(waveform, SEGMENT_SAMPLES)[::HOP_SAMPLES]
    # The window is zero outside its middle 400 of 1024 samples, so 200 mirrored samples are enough.
    half = _WINDOW // 2
    mirrored = np.pad(segments.astype(np.float64), ((0, 0), (half, half)), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(mirrored, _WINDOW, axis=1)[:, ::_HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    power = np.abs(np.fft.rfft(frames * hann, _FFT)) ** 2
    mel = np.log(power @ _mel_bank() + 1e-6)
    filled = np.pad(mel, ((0, 0), (0, FRAMES - mel.shape[1]), (0, 0)))
    normalised = (filled - _MEAN) / (2 * _DEVIATION)
    return np.ascontiguousarray(normalised.transpose(0, 2, 1), dtype=np.float32)


@cache
def _mel_bank() -> NDArray[np.float64]:
    """(513, 128): triangles from 0 to 8000 Hz on the HTK scale, of height 1."""
    frequencies = np.linspace(0, SAMPLE_RATE / 2, _FFT // 2 + 1)[:, None]
    corners = 700 * (10 ** (np.linspace(0, _htk_mel(SAMPLE_RATE / 2), BANDS + 2) / 2595) - 1)
    low, centre, high = corners[:-2], corners[1:-1], corners[2:]
    rising, falling = (frequencies - low) / (centre - low), (high - frequencies) / (high - centre)
    bank: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
    return bank


def _htk_mel(frequency: float) -> float:
    return float(2595 * np.log10(1 + frequency / 700))


class AudioEncoder(nn.Module):
    """The network, with the entry names of the checkpoint's `afeat_extractor`.

    (n, 128, 66) log-mel of segments in; (n, 6, width) out.
    """

    def __init__(self, width: int = 768, depth: int = 12, heads: int = 12, hidden: int = 3072) -> None:
        super().__init__()
        self.ast = _SpectrogramTransformer(width, depth, heads, hidden)
        self.freq_attn_agg = AttentionPooling(width, heads, hidden)

    def forward(self, mel: Tensor) -> Tensor:
        """Encode segments, each by itself."""
        grid = torch.unflatten(self.ast(mel)[:, 2:], 1, (_ROWS, _STEPS))
        by_step = grid.transpose(1, 2).flatten(0, 1)
        return torch.unflatten(self.freq_attn_agg.pool(by_step), 0, (-1, _STEPS))


class _SpectrogramTransformer(nn.Module):
    """(n, 128, 66) in; (n, 2 + 72, width) out: two tokens, then the patches, row by row."""

    def __init__(self, width: int, depth: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.embeddings = _Embeddings(width)
        layers = (_Layer(width, heads, hidden) for _ in range(depth))
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})
        self.layernorm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, mel: Tensor) -> Tensor:
        x = self.embeddings(mel)
        for layer in cast(nn.ModuleList, self.encoder["layer"]):
            x = layer(x)
        return cast(Tensor, self.layernorm(x))


class _Embeddings(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.distillation_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embeddings = nn.Parameter(torch.zeros(1, 2 + _ROWS * _STEPS, width))
        self.patch_embeddings = nn.ModuleDict({"projection": nn.Conv2d(1, width, _PATCH, _STRIDE)})

    def forward(self, mel: Tensor) -> Tensor:
        patches = self.patch_embeddings["projection"](mel[:, None]).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token, self.distillation_token], dim=1)
        return torch.cat([tokens.expand(len(mel), -1, -1), patches], dim=1) + self.position_embeddings


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = _Attention(width, heads)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, hidden)})
        self.output = nn.ModuleDict({"dense": nn.Linear(hidden, width)})
        self.layernorm_before = nn.LayerNorm(width, eps=1e-12)
        self.layernorm_after = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.layernorm_before(x))
        hidden = functional.gelu(self.intermediate["dense"](self.layernorm_after(x)))
        return cast(Tensor, x + self.output["dense"](hidden))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention = nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")})
        self.output = nn.ModuleDict({"dense": nn.Linear(width, width)})

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (self.attention[name](x) for name in ("query", "key", "value"))
        return cast(Tensor, self.output["dense"](attend(query, key, value, self.heads)))


@dataclass(frozen=True)
class SynchformerAudio:
    """The `synchformer_audio` network: `segments` (S, 6, 768) float32.

    S = (n - 10240) // 5120 + 1 of n samples at 16 kHz, 24 for 8 s.
    """

    name: ClassVar[str] = "synchformer_audio"
    version: ClassVar[int] = 1
    modality: ClassVar[Literal["audio"]] = "audio"
    weights: ClassVar[tuple[str, ...]] = (WEIGHTS,)
    memory: ClassVar[int] = 370_000_000
    features: ClassVar[tuple[str, ...]] = ("segments",)
    parameters: ClassVar[Mapping[str, object]] = {}
    frames: ClassVar[None] = None

    def prepare(self, media: AudioWindow) -> Prepared:
        """Return the log-mel segments, (S, 128, 66) float32; raises `ClipFault` under one segment."""
        waveform = media.waveform(SAMPLE_RATE, remove_mean=False)
        if len(waveform) < SEGMENT_SAMPLES:
            seconds, needed = len(waveform) / SAMPLE_RATE, SEGMENT_SAMPLES / SAMPLE_RATE
            detail = f"Synchformer needs at least {needed} s of sound, the clip has {seconds:.3g} s"
            raise ClipFault("too-short", detail)
        return Prepared({"mel": log_mel(waveform)})

    def load(self, device: str) -> Forward:
        """Return the forward half with the official weights on `device`.

        Raises `V2ABenchError` where the weights are not to be had.
        """
        encoder = AudioEncoder()
        load_weights({"afeat_extractor": encoder})
        encoder.to(device)

        @torch.inference_mode()
        def encode(mel: NDArray[np.float32]) -> NDArray[np.float32]:
            segments: NDArray[np.float32] = encoder(torch.from_numpy(mel).to(device)).cpu().numpy()
            return segments

        def forward(batch: Sequence[Prepared]) -> list[Mapping[str, Array]]:
            # A clip is some 24 segments; alone, its values cannot depend on the others.
            return [{"segments": encode(clip.inputs["mel"])} for clip in batch]

        return forward
