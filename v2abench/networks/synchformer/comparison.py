"""The comparison half of Synchformer: the offset between 14 segments of picture and of sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from v2abench.contracts import Array, PairForward, Stream
from v2abench.errors import ClipFault
from v2abench.networks.synchformer.attention import attend
from v2abench.networks.synchformer.checkpoint import WEIGHTS, load_weights

SEGMENTS = 14
"""How many segments are compared at once: 4.8 s."""

OFFSETS: NDArray[np.float32] = np.linspace(-2, 2, 21).astype(np.float32)
"""The classes: offsets in seconds, -2.0, -1.8, ..., 2.0."""

_VIDEO_TOKENS = SEGMENTS * 8
_AUDIO_TOKENS = SEGMENTS * 6
_VIDEO = "synchformer_video.segments"
_AUDIO = "synchformer_audio.segments"


class Comparison(nn.Module):
    """The network, with the entry names of the checkpoint's `vproj`, `aproj` and `transformer`.

    (n, 14, 8, width) of picture and (n, 14, 6, width) of sound in; (n, 21) logits over
    `OFFSETS` out.
    """

    def __init__(self, width: int = 768, depth: int = 3, heads: int = 8) -> None:
        super().__init__()
        self.vproj = nn.Linear(width, width)
        self.aproj = nn.Linear(width, width)
        self.transformer = _Transformer(width, depth, heads)

    def forward(self, video: Tensor, audio: Tensor) -> Tensor:
        """Compare each video with the audio at its index."""
        video, audio = self.vproj(video.flatten(1, 2)), self.aproj(audio.flatten(1, 2))
        return cast(Tensor, self.transformer(video, audio))


class _Transformer(nn.Module):
    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.OFF_tok = nn.Parameter(torch.zeros(1, 1, width))
        self.MOD_tok = nn.Parameter(torch.zeros(1, 1, width))
        self.vis_in_lnorm = nn.LayerNorm(width)
        self.aud_in_lnorm = nn.LayerNorm(width)
        positions = torch.zeros(1, 2 + _VIDEO_TOKENS + _AUDIO_TOKENS, width)
        self.pos_emb_cfg = nn.ParameterDict({"pos_emb": nn.Parameter(positions)})
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(depth)))
        self.ln_f = nn.LayerNorm(width)
        self.off_head = nn.Linear(width, len(OFFSETS))

    def forward(self, video: Tensor, audio: Tensor) -> Tensor:
        offset, modality = (token.expand(len(video), -1, -1) for token in (self.OFF_tok, self.MOD_tok))
        x = torch.cat([offset, self.vis_in_lnorm(video), modality, self.aud_in_lnorm(audio)], dim=1)
        x = self.blocks(x + self.pos_emb_cfg["pos_emb"])
        return cast(Tensor, self.off_head(self.ln_f(x[:, 0])))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(width)
        self.ln2 = nn.LayerNorm(width)
        self.attn = _Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln1(x))
        return cast(Tensor, x + self.mlp(self.ln2(x)))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.proj(attend(self.query(x), self.key(x), self.value(x), self.heads)))


def load_comparison(device: str) -> Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]:
    """Return the comparison with the official weights, on `device`.

    It takes video (n, 14, 8, 768) and sound (n, 14, 6, 768), float32, and returns the (n, 21)
    float32 logits over `OFFSETS`. Raises `V2ABenchError` where the weights are not to be had.
    """
    network = Comparison()
    load_weights(dict(network.named_children()))
    network.to(device)

    @torch.inference_mode()
    def compare(video: NDArray[np.float32], audio: NDArray[np.float32]) -> NDArray[np.float32]:
        seen, heard = (torch.from_numpy(side).to(device) for side in (video, audio))
        logits: NDArray[np.float32] = network(seen, heard).cpu().numpy()
        return logits

    return compare


@dataclass(frozen=True)
class Synchformer:
    """The `synchformer` pair network: `logits` (2, 21) float32 over `OFFSETS`.

    The first row compares the first 14 segments, the second the last 14: 0-4.8 s and
    3.2-8 s of a clip of 8 s. Source: av-benchmark@050a5cd, av_bench/evaluate.py:171-191.
    """

    name: ClassVar[str] = "synchformer"
    version: ClassVar[int] = 1
    weights: ClassVar[tuple[str, ...]] = (WEIGHTS,)
    features: ClassVar[tuple[str, ...]] = ("logits",)
    parameters: ClassVar[Mapping[str, object]] = {}
    needs: ClassVar[Mapping[Stream, tuple[str, ...]]] = {"generated": (_AUDIO,), "video": (_VIDEO,)}

    def load(self, device: str) -> PairForward:
        """Return what compares one clip's segments, on `device`.

        It raises `ClipFault` where a side has under 14 segments (4.8 s) or the two have not
        equally many. Raises `V2ABenchError` where the weights are not to be had.
        """
        compare = load_comparison(device)

        def forward(inputs: Mapping[Stream, Mapping[str, Array]]) -> Mapping[str, Array]:
            video, audio = inputs["video"][_VIDEO], inputs["generated"][_AUDIO]
            found = f"the video has {len(video)} segments, the sound {len(audio)}"
            if min(len(video), len(audio)) < SEGMENTS:
                raise ClipFault("too-short", f"Synchformer compares {SEGMENTS} segments (4.8 s): {found}")
            if len(video) != len(audio):
                raise ClipFault("undefined", f"Synchformer compares segment with segment: {found}")
            return {"logits": compare(_windows(video), _windows(audio))}

        return forward


def _windows(segments: Array) -> Array:
    return np.stack([segments[:SEGMENTS], segments[-SEGMENTS:]])
