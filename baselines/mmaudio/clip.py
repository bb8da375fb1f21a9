"""CLIP as MMAudio uses it: an embedding for each picture, a state for each token of a text.

Fang et al., "Data Filtering Networks", 2023 (DFN5B-CLIP-ViT-H-14-384), in the
architecture of open_clip. Pictures are embedded as CLIP does; of a text the states of
all 77 places are taken behind the last layer norm, without pooling or projection.
Both are scaled to length 1.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from v2abench.errors import UnavailableError
from v2abench.networks.resizing import resize
from v2abench.weights.checkpoints import read_checkpoint
from v2abench.weights.deterministic import deterministic_state, is_deterministic
from v2abench.weights.fetching import require

WEIGHTS = "clip_dfn5b"
ARCHITECTURE = "ViT-H-14-378-quickgelu"
SIDE = 384
CONTEXT = 77

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_DEVIATION = (0.26862954, 0.26130258, 0.27577711)

Architecture = Mapping[str, Any]
"""What open_clip's CLIP is made of."""


def architecture() -> Architecture:
    """Return open_clip's description of the network."""
    return cast(Architecture, _open_clip().get_model_config(ARCHITECTURE))


def square(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a frame, (H, W, 3), scaled to 384 x 384, whatever its shape."""
    return resize(frame, (SIDE, SIDE))


def normalise(frames: Tensor) -> Tensor:
    """Return (n, 3, 384, 384) float32 pixels of (n, 384, 384, 3) uint8 frames."""
    mean, deviation = (torch.tensor(values, device=frames.device) for values in (_MEAN, _DEVIATION))
    return ((frames.float() / 255 - mean) / deviation).permute(0, 3, 1, 2)


def tokens(texts: Sequence[str]) -> Tensor:
    """Return (n, 77) token numbers; a longer text is cut, its end mark stays."""
    return cast(Tensor, _open_clip().tokenizer.SimpleTokenizer()(list(texts), context_length=CONTEXT))


class VisionTower(nn.Module):
    """(n, 3, 384, 384) normalised pixels in; (n, 1024) embeddings of length 1 out."""

    def __init__(self, parts: Architecture) -> None:
        super().__init__()
        self.visual = _open_clip().CLIP(**parts).visual

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed each picture by itself."""
        return functional.normalize(self.visual(pixels), dim=-1)


class TextTower(nn.Module):
    """(n, 77) token numbers in; (n, 77, 1024) states of length 1 out."""

    def __init__(self, parts: Architecture) -> None:
        super().__init__()
        whole = _open_clip().CLIP(**parts)
        self.positional_embedding = whole.positional_embedding
        self.text_projection = whole.text_projection
        self.logit_scale = whole.logit_scale
        self.transformer = whole.transformer
        self.token_embedding = whole.token_embedding
        self.ln_final = whole.ln_final

    def forward(self, numbers: Tensor) -> Tensor:
        """Return the states of all places, those behind the end of the text too."""
        x = self.token_embedding(numbers) + self.positional_embedding
        length = numbers.shape[1]
        later = torch.full((length, length), -torch.inf, device=numbers.device).triu(1)
        return functional.normalize(self.ln_final(self.transformer(x, attn_mask=later)), dim=-1)


def load_tower(make: Callable[[Architecture], nn.Module], parts: Architecture | None = None) -> nn.Module:
    """Return a tower with its part of the weights, in eval mode on the CPU.

    The checkpoint (3.9 GB) is mapped, so that the other tower's half is never read.
    Raises `V2ABenchError` where it or open_clip is not to be had.
    """
    with torch.device("meta"):
        tower = make(architecture() if parts is None else parts)
    if is_deterministic():
        state = deterministic_state(tower.state_dict())
    else:
        whole = read_checkpoint(require(WEIGHTS))
        wanted = tower.state_dict()
        state = {name: whole[name] for name in wanted if name in whole}
    tower.load_state_dict(state, strict=True, assign=True)
    return tower.eval().requires_grad_(False)


def _open_clip() -> Any:
    try:
        import open_clip  # noqa: PLC0415 (an extra, and slow to import)
    except ImportError as error:
        raise UnavailableError(
            f"MMAudio's conditions need open_clip ({error}); run `pip install 'v2abench[mmaudio]'`"
        ) from error
    return open_clip
