"""PaSST: the AudioSet tagger behind FD-PaSST, KL-PaSST and IS-PaSST.

Architecture `passt_s_swa_p16_128_ap476` of Koutini et al., "Efficient Training
of Audio Transformers with Patchout", Interspeech 2022; code Apache-2.0. The
conventions are those of hear21passt 0.0.26 in mode `all`, as av-benchmark
(hkchengrex/av-benchmark@050a5cd) calls it: the network hears exactly 10 s, so
a shorter clip is followed by zeros and a longer one is cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from v2abench.contracts import Array, Forward, Prepared
from v2abench.errors import V2ABenchError
from v2abench.weights.deterministic import filled, is_deterministic
from v2abench.weights.fetching import require

if TYPE_CHECKING:
    from v2abench.media.reading import AudioWindow

SAMPLE_RATE = 32000
FFT = 1024
WINDOW = 800
HOP = 320
BANDS = 128
HIGHEST_HZ = 15000
CLASSES = 527
WIDTH = 768
HEADS = 12
BLOCKS = 12

_PATCH = 16
_PATCH_HOP = 10
_PATCH_ROWS = 12
_PATCH_COLUMNS = 99
_SHORTEST_SECONDS = 0.16
_LONGEST_SECONDS = 10.0


def log_mel(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (128, 1 + (samples - 1) // 320) float32 log-mel spectrogram.

    `waveform` is (samples,) at 32 kHz with full scale ±1, at least 514 samples.
    """
    signal = waveform.astype(np.float64)
    emphasised = signal[1:] - 0.97 * signal[:-1]
    padded = np.pad(emphasised, FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP]
    window = np.pad(np.hanning(WINDOW), (FFT - WINDOW) // 2)
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    mel: NDArray[np.float64] = (np.log(_mel_bank() @ power.T + 1e-5) + 4.5) / 5
    return mel.astype(np.float32)


@cache
def _mel_bank() -> NDArray[np.float64]:
    """Kaldi's triangles, linear in mel and of height 1, (128, 513)."""
    bins = _mel(np.linspace(0, SAMPLE_RATE / 2, FFT // 2 + 1))
    edges, step = np.linspace(0, _mel(np.array(HIGHEST_HZ)), BANDS + 2, retstep=True)
    bank: NDArray[np.float64] = np.maximum(0, 1 - np.abs(bins - edges[1:-1, None]) / step)
    return bank


def _mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1127 * np.log1p(hertz / 700)


class PaSSTNet(nn.Module):
    """The network, with the entry names of the official checkpoint.

    (clips, 128, frames) log-mel in; (clips, 768) embeddings and (clips, 527)
    logits, before the sigmoid, out. `head_dist` is in the checkpoint and unused.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.new_pos_embed = nn.Parameter(torch.zeros(1, 2, WIDTH))
        self.freq_new_pos_embed = nn.Parameter(torch.zeros(1, WIDTH, _PATCH_ROWS, 1))
        self.time_new_pos_embed = nn.Parameter(torch.zeros(1, WIDTH, 1, _PATCH_COLUMNS))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, WIDTH, _PATCH, stride=_PATCH_HOP)})
        self.blocks = nn.Sequential(*(_Block() for _ in range(BLOCKS)))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)
        self.head = nn.Sequential(nn.LayerNorm(WIDTH, eps=1e-5), nn.Linear(WIDTH, CLASSES))
        self.head_dist = nn.Linear(WIDTH, CLASSES)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Return the (clips, 768) embeddings and (clips, 527) logits."""
        patches = self.patch_embed["proj"](mel[:, None])
        patches = patches + self.time_new_pos_embed[..., : patches.shape[3]] + self.freq_new_pos_embed
        own_tokens = torch.cat([self.cls_token, self.dist_token], dim=1) + self.new_pos_embed
        tokens = torch.cat([own_tokens.expand(len(mel), -1, -1), patches.flatten(2).mT], dim=1)
        embedding = self.norm(self.blocks(tokens)[:, :2]).mean(dim=1)
        return embedding, self.head(embedding)


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.attn = _Attention()
        self.norm2 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(WIDTH, 4 * WIDTH), "fc2": nn.Linear(4 * WIDTH, WIDTH)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        hidden = functional.gelu(self.mlp["fc1"](self.norm2(x)))
        return cast(Tensor, x + self.mlp["fc2"](hidden))


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        heads = functional.scaled_dot_product_attention(query, key, value)
        return cast(Tensor, self.proj(heads.transpose(1, 2).flatten(2)))


def load_network(checkpoint: Path) -> PaSSTNet:
    """Return the network with the official weights, in eval mode on the CPU."""
    with torch.device("meta"):
        network = PaSSTNet()
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval().requires_grad_(False)


@dataclass(frozen=True)
class PaSST:
    """The `passt` network: `embedding` (768,) and `logits` (527,) float32.

    `pad_seconds`, 0.16 to 10, is how much the network hears: a shorter clip is
    followed by zeros, without a note, because every clip of the 8 s protocol is;
    a longer one is cut.
    """

    pad_seconds: float = _LONGEST_SECONDS

    name: ClassVar[str] = "passt"
    version: ClassVar[int] = 1
    modality: ClassVar[Literal["audio"]] = "audio"
    weights: ClassVar[tuple[str, ...]] = ("passt",)
    memory: ClassVar[int] = 345_000_000
    features: ClassVar[tuple[str, ...]] = ("embedding", "logits")
    frames: ClassVar[None] = None

    def __post_init__(self) -> None:
        if not _SHORTEST_SECONDS <= self.pad_seconds <= _LONGEST_SECONDS:
            raise V2ABenchError(
                f"passt: pad_seconds is {self.pad_seconds:g}, "
                f"the network takes {_SHORTEST_SECONDS:g} to {_LONGEST_SECONDS:g} s"
            )

    @property
    def parameters(self) -> Mapping[str, object]:
        """What changes the values."""
        return {"pad_seconds": float(self.pad_seconds)}

    def prepare(self, media: AudioWindow) -> Prepared:
        """Return the log-mel spectrogram, (128, 1000) float32 for 10 s."""
        wanted = round(SAMPLE_RATE * self.pad_seconds)
        waveform = media.waveform(SAMPLE_RATE)[:wanted]
        return Prepared({"mel": log_mel(np.pad(waveform, (0, wanted - len(waveform))))})

    def load(self, device: str) -> Forward:
        """Return the forward half with the official weights on `device`.

        Raises `V2ABenchError` where the weights are not to be had.
        """
        network = filled(PaSSTNet) if is_deterministic() else load_network(require("passt"))
        network.to(device)

        @torch.inference_mode()
        def forward(batch: Sequence[Prepared]) -> list[Mapping[str, Array]]:
            mel = torch.from_numpy(np.stack([clip.inputs["mel"] for clip in batch]))
            embeddings, logits = (output.cpu().numpy() for output in network(mel.to(device)))
            return [
                {"embedding": embedding, "logits": scores}
                for embedding, scores in zip(embeddings, logits, strict=True)
            ]

        return forward
