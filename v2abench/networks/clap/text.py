"""The text half of CLAP (RoBERTa-base)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from v2abench.contracts import Array, Forward, Prepared
from v2abench.networks.clap.checkpoint import CHECKPOINTS, PACKAGE, known_checkpoint, load_half
from v2abench.weights.deterministic import is_deterministic
from v2abench.weights.fetching import require

TOKENIZER = "clap_tokenizer"
LONGEST = 77
"""Tokens, those at the beginning and the end included; longer texts are cut."""

_BEGIN, _PAD, _END = 0, 1, 2
_VOCABULARY = 50265

Tokenize = Callable[[Sequence[str]], tuple[Tensor, Tensor]]
"""From n texts to (n, 77) int64 token numbers and the mask of those that count."""


@dataclass(frozen=True)
class ClapText:
    """The `clap_text` network: `embedding` (512,) float32 of length 1."""

    checkpoint: str = "music_speech_audioset"

    name: ClassVar[str] = "clap_text"
    version: ClassVar[int] = 1
    modality: ClassVar[Literal["text"]] = "text"
    features: ClassVar[tuple[str, ...]] = ("embedding",)
    frames: ClassVar[None] = None
    memory: ClassVar[int] = 500_000_000
    package: ClassVar[str] = PACKAGE

    def __post_init__(self) -> None:
        known_checkpoint(self.checkpoint)

    @property
    def weights(self) -> tuple[str, ...]:
        """The checkpoint's and the tokenizer's entries in the registry."""
        return CHECKPOINTS[self.checkpoint], TOKENIZER

    @property
    def parameters(self) -> Mapping[str, object]:
        """What changes the values."""
        return {"checkpoint": self.checkpoint}

    def prepare(self, media: str) -> Prepared:
        """Return the text as it is."""
        return Prepared({"text": media})

    def load(self, device: str) -> Forward:
        """Return the forward half with the weights on `device`; raises `V2ABenchError` without them."""
        model = load_half("text", self.checkpoint).to(device)
        tokenize = bytes_as_tokens if is_deterministic() else roberta_tokens(str(require(TOKENIZER)))

        @torch.inference_mode()
        def forward(batch: Sequence[Prepared]) -> list[Mapping[str, Array]]:
            tokens, mask = (part.to(device) for part in tokenize([clip.inputs["text"] for clip in batch]))
            pooled = model.get_submodule("text_model")(input_ids=tokens, attention_mask=mask).pooler_output
            projected = model.get_submodule("text_projection")(pooled)
            embeddings = torch.nn.functional.normalize(projected, dim=-1).cpu().numpy()
            return [{"embedding": embedding} for embedding in embeddings]

        return forward


def roberta_tokens(path: str) -> Tokenize:
    """Return RoBERTa's tokenizer from its `tokenizer.json`."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    tokenizer.enable_truncation(LONGEST)
    tokenizer.enable_padding(length=LONGEST, pad_id=_PAD, pad_token="<pad>")

    def tokenize(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        encoded = tokenizer.encode_batch(list(texts))
        return torch.tensor([e.ids for e in encoded]), torch.tensor([e.attention_mask for e in encoded])

    return tokenize


def bytes_as_tokens(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Stand in for the tokenizer where all weights are deterministic: a token a byte."""
    tokens = torch.full((len(texts), LONGEST), _PAD)
    for row, text in zip(tokens, texts, strict=True):
        inner = [byte % (_VOCABULARY - 3) + 3 for byte in text.encode()[: LONGEST - 2]]
        row[: len(inner) + 2] = torch.tensor([_BEGIN, *inner, _END])
    return tokens, (tokens != _PAD).long()
