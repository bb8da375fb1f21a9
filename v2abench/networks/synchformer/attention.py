"""Attention as all parts of Synchformer have it."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Return the multi-head scaled dot-product attention of (n, tokens, width) projections."""
    query, key, value = (
        torch.unflatten(part, 2, (heads, -1)).transpose(1, 2) for part in (query, key, value)
    )
    return functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


class AttentionPooling(nn.TransformerEncoderLayer):
    """One pre-norm transformer layer over a learned token and the tokens to be pooled."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__(
            width, heads, hidden, activation="gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
        )
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))

    def pool(self, tokens: Tensor) -> Tensor:
        """Return (n, width) for (n, tokens, width): what becomes of the learned token."""
        sequence = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        return cast(Tensor, self(sequence))[:, 0]
