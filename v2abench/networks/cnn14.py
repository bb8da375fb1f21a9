"""PANNs Cnn14 at 16 kHz: the AudioSet tagger behind FD-PANNs, KL-PANNs and IS-PANNs.

Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio
Pattern Recognition", IEEE/ACM TASLP 2020; weights `Cnn14_16k_mAP=0.438.pth`,
CC BY 4.0, Zenodo record 3987831. The conventions are those of av-benchmark
(hkchengrex/av-benchmark@050a5cd, av_bench/panns): no padding, so a shorter clip
gives fewer frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import get_window
from torch import Tensor, nn

from v2abench.contracts import Array, Forward, Prepared
from v2abench.errors import ClipFault
from v2abench.networks.mel import slaney_bank
from v2abench.weights.deterministic import filled, is_deterministic
from v2abench.weights.fetching import require
from v2abench.weights.reading import read_pickle

if TYPE_CHECKING:
    from v2abench.media.reading import AudioWindow

SAMPLE_RATE = 16000
FRAME = 512
HOP = 160
BANDS = 64
LOWEST_HZ = 50
HIGHEST_HZ = 8000
CLASSES = 527
SHORTEST = 4960
"""Samples that give 32 frames, of which five poolings leave one."""

_POWER_FLOOR = 1e-10


def log_mel(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (1 + samples // 160, 64) float32 log-mel spectrogram in dB.

    `waveform` is (samples,) at 16 kHz with full scale ±1, at least 257 samples.
    """
    padded = np.pad(waveform.astype(np.float64), FRAME // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    power = np.abs(np.fft.rfft(frames * get_window("hann", FRAME))) ** 2
    bank = slaney_bank(SAMPLE_RATE, FRAME, BANDS, LOWEST_HZ, HIGHEST_HZ)
    decibels: NDArray[np.float64] = 10 * np.log10(np.maximum(_POWER_FLOOR, power @ bank))
    return decibels.astype(np.float32)


class Cnn14Net(nn.Module):
    """The network, with the entry names of the official checkpoint.

    (clips, frames, 64) log-mel in; (clips, 2048) embeddings, not negative, and
    (clips, 527) logits, before the sigmoid, out. The two extractors hold the front
    end's constants, which `log_mel` has of its own: they are loaded and unused.
    """

    def __init__(self) -> None:
        super().__init__()
        bins = FRAME // 2 + 1
        kernels = {part: nn.Conv1d(1, bins, FRAME, bias=False) for part in ("conv_real", "conv_imag")}
        self.spectrogram_extractor = nn.ModuleDict({"stft": nn.ModuleDict(kernels)})
        self.logmel_extractor = nn.ParameterDict({"melW": torch.zeros(bins, BANDS)})
        self.bn0 = nn.BatchNorm2d(BANDS)
        self.conv_block1 = _ConvBlock(1, 64, pool=2)
        self.conv_block2 = _ConvBlock(64, 128, pool=2)
        self.conv_block3 = _ConvBlock(128, 256, pool=2)
        self.conv_block4 = _ConvBlock(256, 512, pool=2)
        self.conv_block5 = _ConvBlock(512, 1024, pool=2)
        self.conv_block6 = _ConvBlock(1024, 2048, pool=1)
        self.fc1 = nn.Linear(2048, 2048)
        self.fc_audioset = nn.Linear(2048, CLASSES)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Return the (clips, 2048) embeddings and (clips, 527) logits."""
        x = self.bn0(mel.mT[:, :, :, None]).permute(0, 3, 2, 1)
        for number in range(1, 7):
            x = self.get_submodule(f"conv_block{number}")(x)
        x = x.mean(dim=3)
        embedding = torch.relu(self.fc1(x.amax(dim=2) + x.mean(dim=2)))
        return embedding, self.fc_audioset(embedding)


class _ConvBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, pool: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.pool = nn.AvgPool2d(pool)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return cast(Tensor, self.pool(x))


def load_network(checkpoint: Path) -> Cnn14Net:
    """Return the network with the official weights, in eval mode on the CPU."""
    state = read_pickle(checkpoint)["model"]  # beside it: the state of its sampler, NumPy arrays
    with torch.device("meta"):
        network = Cnn14Net()
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval().requires_grad_(False)


@dataclass(frozen=True)
class Cnn14:
    """The `cnn14` network: `embedding` (2048,), not negative, and `logits` (527,) float32."""

    name: ClassVar[str] = "cnn14"
    version: ClassVar[int] = 1
    modality: ClassVar[Literal["audio"]] = "audio"
    weights: ClassVar[tuple[str, ...]] = ("cnn14_16k",)
    memory: ClassVar[int] = 324_000_000
    features: ClassVar[tuple[str, ...]] = ("embedding", "logits")
    frames: ClassVar[None] = None
    parameters: ClassVar[Mapping[str, object]] = {}

    def prepare(self, media: AudioWindow) -> Prepared:
        """Return the log-mel spectrogram, (801, 64) float32 for 8 s.

        Raises `ClipFault` (`too-short`) under 0.31 s.
        """
        waveform = media.waveform(SAMPLE_RATE)
        if len(waveform) < SHORTEST:
            raise ClipFault(
                "too-short",
                f"cnn14 needs at least {SHORTEST} samples at 16 kHz, the clip has {len(waveform)}",
            )
        return Prepared({"mel": log_mel(waveform)})

    def load(self, device: str) -> Forward:
        """Return the forward half with the official weights on `device`.

        Raises `V2ABenchError` where the weights are not to be had.
        """
        network = filled(Cnn14Net) if is_deterministic() else load_network(require("cnn14_16k"))
        network.to(device)

        @torch.inference_mode()
        def forward(batch: Sequence[Prepared]) -> list[Mapping[str, Array]]:
            mels = [clip.inputs["mel"] for clip in batch]
            rows: dict[int, Mapping[str, Array]] = {}
            # Clips of one length go together, for padding would change their values.
            for frames in {len(mel) for mel in mels}:
                chosen = [row for row, mel in enumerate(mels) if len(mel) == frames]
                stacked = torch.from_numpy(np.stack([mels[row] for row in chosen]))
                embeddings, logits = (output.cpu().numpy() for output in network(stacked.to(device)))
                for row, embedding, logit in zip(chosen, embeddings, logits, strict=True):
                    rows[row] = {"embedding": embedding, "logits": logit}
            return [rows[row] for row in range(len(batch))]

        return forward
