"""aiSFX: a small sound-effects tagger with real weights, for FD, KL and IS.

Model "X-Sequential-CE" of Ma and Lerch, "Representation Learning for the
Automatic Indexing of Sound Effects Libraries", ISMIR 2022; weights CC BY 4.0,
from the PyPI package aisfx 0.1.2. The clip is cut into windows of 100 log-mel
frames (2.3 s) with 50 % overlap, the last partial window is dropped, and the
clip's features are the means over its windows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from v2abench.contracts import Array, Forward, Prepared
from v2abench.errors import UnknownNameError
from v2abench.weights.deterministic import filled, is_deterministic
from v2abench.weights.fetching import require
from v2abench.weights.reading import read_pickle

if TYPE_CHECKING:
    from v2abench.media.reading import AudioWindow

SAMPLE_RATE = 44100
FRAME = 2048
HOP = 1024
BANDS = 96
WINDOW_FRAMES = 100
WINDOW_HOP = 50
LABEL_SETS = {
    "prosfx": 78,
    "soundlyTrain": 79,
    "ucsMixed": 69,
    "soundstormBalanced": 81,
    "productionelementsBalanced": 10,
    "cartoonexpressBalanced": 27,
    "hpxdigitalBalanced": 3,
    "series6000Balanced": 23,
    "series9000Balanced": 8,
}
"""Label set -> number of classes, in the order of the checkpoint's heads."""

_LOG_SCALE = 9.457798957824707
_WINDOWS_PER_PASS = 8


def log_mel(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (frames, 96) float32 log-mel spectrogram of a 44.1 kHz waveform.

    `waveform` is (samples,) with full scale ±1. Frames of 2048 samples every
    1024, the first centred on sample 0, ceil((samples + 1024) / 1024) of them.
    """
    count = math.ceil((len(waveform) + HOP) / HOP)
    padded = np.zeros((count - 1) * HOP + FRAME)
    padded[HOP : HOP + len(waveform)] = waveform
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME))) ** 2
    mel = np.log10(10_000 * (power @ _mel_bank().T) + 1) / _LOG_SCALE
    return mel.astype(np.float32)


@cache
def _mel_bank() -> NDArray[np.float64]:
    frequencies = np.arange(FRAME // 2 + 1) * SAMPLE_RATE / FRAME
    mel = 1127.01048 * np.log(1 + frequencies / 700)
    centres, step = np.linspace(0, mel[-1], BANDS + 2, retstep=True)
    weights = np.maximum(0, 1 - np.abs(mel - centres[1:-1, None]) / step)
    bank: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return bank


class AiSFXNet(nn.Module):
    """The network, with the entry names of the official checkpoint.

    (windows, 100, 96) log-mel in; per label set (windows, classes) logits out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embedding_net = _EmbeddingNet()
        self.fc = nn.ModuleList(_head(classes) for classes in LABEL_SETS.values())

    def forward(self, mel: Tensor, label_set: str) -> tuple[Tensor, Tensor]:
        """Return the (windows, 512) embeddings and (windows, classes) logits."""
        embedding = self.embedding_net(mel)
        return embedding, self.fc[list(LABEL_SETS).index(label_set)](embedding)


class _EmbeddingNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_block1 = _ConvBlock(1, 64, pool=2)
        self.conv_block2 = _ConvBlock(64, 128, pool=2)
        self.conv_block3 = _ConvBlock(128, 256, pool=2)
        self.conv_block4 = _ConvBlock(256, 512, pool=1)

    def forward(self, mel: Tensor) -> Tensor:
        x = mel[:, None]
        for block in (self.conv_block1, self.conv_block2, self.conv_block3, self.conv_block4):
            x = block(x)
        return x.mean(dim=3).amax(dim=2)


class _ConvBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, pool: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.pool = nn.MaxPool2d(pool)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return cast(Tensor, self.pool(x))


def _head(classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, classes)
    )


def load_network(checkpoint: Path) -> AiSFXNet:
    """Return the network with the official weights, in eval mode on the CPU."""
    state, _ = read_pickle(checkpoint)  # the other half: class counts, NumPy scalars
    network = AiSFXNet()
    network.load_state_dict(state, strict=True)
    return network.eval().requires_grad_(False)


@dataclass(frozen=True)
class AiSFX:
    """The `aisfx` network: `embedding` (512,) and `logits` (classes,) float32.

    `label_set` picks the head that gives the logits; `soundlyTrain` (79
    classes) is the one whose KL and IS are reported.
    """

    label_set: str = "soundlyTrain"

    name: ClassVar[str] = "aisfx"
    version: ClassVar[int] = 1
    modality: ClassVar[Literal["audio"]] = "audio"
    weights: ClassVar[tuple[str, ...]] = ("aisfx",)
    memory: ClassVar[int] = 25_000_000
    features: ClassVar[tuple[str, ...]] = ("embedding", "logits")
    frames: ClassVar[None] = None

    def __post_init__(self) -> None:
        if self.label_set not in LABEL_SETS:
            raise UnknownNameError("aiSFX label set", self.label_set, LABEL_SETS)

    @property
    def parameters(self) -> Mapping[str, object]:
        """What changes the values."""
        return {"label_set": self.label_set}

    def prepare(self, media: AudioWindow) -> Prepared:
        """Return the log-mel windows, (windows, 100, 96) float32.

        A clip shorter than one window is zero-padded to one, with a note.
        """
        mel = log_mel(media.waveform(SAMPLE_RATE))
        missing = WINDOW_FRAMES - len(mel)
        notes: tuple[str, ...] = ()
        if missing > 0:
            mel = np.pad(mel, ((0, missing), (0, 0)))
            notes = ("padded to one window of 2.3 s",)
        windows = np.lib.stride_tricks.sliding_window_view(mel, WINDOW_FRAMES, axis=0)[::WINDOW_HOP]
        return Prepared({"windows": np.ascontiguousarray(windows.transpose(0, 2, 1))}, notes)

    def load(self, device: str) -> Forward:
        """Return the forward half with the official weights on `device`.

        Raises `V2ABenchError` where the weights are not to be had.
        """
        network = filled(AiSFXNet) if is_deterministic() else load_network(require("aisfx"))
        network.to(device)

        @torch.inference_mode()
        def forward(batch: Sequence[Prepared]) -> list[Mapping[str, Array]]:
            windows = [clip.inputs["windows"] for clip in batch]
            parts = torch.split(torch.from_numpy(np.concatenate(windows)), _WINDOWS_PER_PASS)
            outputs = [network(part.to(device), self.label_set) for part in parts]
            starts = np.cumsum([len(clip) for clip in windows])[:-1]
            means = (_means(torch.cat(output), starts) for output in zip(*outputs, strict=True))
            return [
                {"embedding": embedding, "logits": logits} for embedding, logits in zip(*means, strict=True)
            ]

        return forward


def _means(windows: Tensor, starts: NDArray[np.int64]) -> list[NDArray[np.float32]]:
    """The mean over the windows of each clip; all clips but the first begin at `starts`."""
    return [clip.mean(axis=0) for clip in np.split(windows.cpu().numpy(), starts)]
