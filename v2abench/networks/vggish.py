"""VGGish: the audio embedding behind FD-VGG, also called FAD.

Hershey et al., "CNN Architectures for Large-Scale Audio Classification", ICASSP
2017; FAD: Kilgour et al., "Fréchet Audio Distance", Interspeech 2019; weights
from harritaylor/torchvggish@f3f9096. The conventions are those of av-benchmark
(hkchengrex/av-benchmark@050a5cd, av_bench/vggish): no activation after the last
layer, no PCA, no quantisation; the clip is cut into examples of 96 frames
(0.96 s), the last partial one is dropped, and every example counts on its own.
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
from scipy.signal import get_window
from torch import Tensor, nn

from v2abench.contracts import Array, Forward, Prepared
from v2abench.errors import ClipFault
from v2abench.weights.deterministic import filled, is_deterministic
from v2abench.weights.fetching import require

if TYPE_CHECKING:
    from v2abench.media.reading import AudioWindow

SAMPLE_RATE = 16000
FRAME = 400
HOP = 160
FFT = 512
BANDS = 64
LOWEST_HZ = 125
HIGHEST_HZ = 7500
EXAMPLE_FRAMES = 96
SHORTEST = FRAME + (EXAMPLE_FRAMES - 1) * HOP
"""Samples of one example: 15600, 0.975 s."""

_EXAMPLES_PER_PASS = 64


def log_mel(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (1 + (samples - 400) // 160, 64) float32 log-mel spectrogram.

    `waveform` is (samples,) at 16 kHz with full scale ±1, at least 400 samples.
    """
    frames = np.lib.stride_tricks.sliding_window_view(waveform.astype(np.float64), FRAME)[::HOP]
    magnitude = np.abs(np.fft.rfft(frames * get_window("hann", FRAME), FFT))
    mel: NDArray[np.float64] = np.log(magnitude @ _mel_bank() + 0.01)
    return mel.astype(np.float32)


@cache
def _mel_bank() -> NDArray[np.float64]:
    """Triangles, linear in mel and of height 1, (257, 64)."""
    bins = _mel(np.linspace(0, SAMPLE_RATE / 2, FFT // 2 + 1))
    lowest, highest = _mel(np.array([LOWEST_HZ, HIGHEST_HZ]))
    edges, step = np.linspace(lowest, highest, BANDS + 2, retstep=True)
    bank: NDArray[np.float64] = np.maximum(0, 1 - np.abs(bins[:, None] - edges[1:-1]) / step)
    return bank


def _mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1127 * np.log1p(hertz / 700)


class VGGishNet(nn.Module):
    """The network, with the entry names of the official checkpoint.

    (examples, 96, 64) log-mel in, (examples, 128) embeddings out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_conv(1, 64), nn.MaxPool2d(2),
            *_conv(64, 128), nn.MaxPool2d(2),
            *_conv(128, 256), *_conv(256, 256), nn.MaxPool2d(2),
            *_conv(256, 512), *_conv(512, 512), nn.MaxPool2d(2),
        )  # fmt: skip
        self.embeddings = nn.Sequential(
            nn.Linear(512 * 6 * 4, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 128)
        )

    def forward(self, mel: Tensor) -> Tensor:
        """Return the (examples, 128) embeddings."""
        # The weights come from TensorFlow, which has the channels last.
        flat = self.features(mel[:, None]).permute(0, 2, 3, 1).flatten(1)
        return cast(Tensor, self.embeddings(flat))


def _conv(inputs: int, outputs: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()


def load_network(checkpoint: Path) -> VGGishNet:
    """Return the network with the official weights, in eval mode on the CPU."""
    with torch.device("meta"):
        network = VGGishNet()
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval().requires_grad_(False)


@dataclass(frozen=True)
class VGGish:
    """The `vggish` network: `embedding` (examples, 128) float32, one row for each 0.96 s."""

    name: ClassVar[str] = "vggish"
    version: ClassVar[int] = 1
    modality: ClassVar[Literal["audio"]] = "audio"
    weights: ClassVar[tuple[str, ...]] = ("vggish",)
    memory: ClassVar[int] = 289_000_000
    features: ClassVar[tuple[str, ...]] = ("embedding",)
    frames: ClassVar[None] = None
    parameters: ClassVar[Mapping[str, object]] = {}

    def prepare(self, media: AudioWindow) -> Prepared:
        """Return the log-mel examples, (examples, 96, 64) float32, 8 for 8 s.

        Raises `ClipFault` (`too-short`) under 0.975 s.
        """
        waveform = media.waveform(SAMPLE_RATE)
        if len(waveform) < SHORTEST:
            raise ClipFault(
                "too-short",
                f"vggish needs at least {SHORTEST} samples at 16 kHz, the clip has {len(waveform)}",
            )
        mel = log_mel(waveform)
        count = len(mel) // EXAMPLE_FRAMES
        return Prepared({"examples": mel[: count * EXAMPLE_FRAMES].reshape(count, EXAMPLE_FRAMES, BANDS)})

    def load(self, device: str) -> Forward:
        """Return the forward half with the official weights on `device`.

        Raises `V2ABenchError` where the weights are not to be had.
        """
        network = filled(VGGishNet) if is_deterministic() else load_network(require("vggish"))
        network.to(device)

        @torch.inference_mode()
        def forward(batch: Sequence[Prepared]) -> list[Mapping[str, Array]]:
            clips = [clip.inputs["examples"] for clip in batch]
            parts = torch.split(torch.from_numpy(np.concatenate(clips)), _EXAMPLES_PER_PASS)
            embeddings = np.concatenate([network(part.to(device)).cpu().numpy() for part in parts])
            starts = np.cumsum([len(clip) for clip in clips])[:-1]
            return [{"embedding": clip} for clip in np.split(embeddings, starts)]

        return forward
