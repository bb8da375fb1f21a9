"""Prompts as bags of words: which words of a fixed vocabulary occur."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")


def words_of(text: str) -> list[str]:
    """Return the lower-case words of a text, in order."""
    return _WORD.findall(text.lower())


def vocabulary(prompts: Iterable[str]) -> tuple[str, ...]:
    """Return all words of the prompts, sorted."""
    return tuple(sorted({word for prompt in prompts for word in words_of(prompt)}))


def bag(prompt: str | None, known: Sequence[str]) -> Tensor:
    """Return (len(known),) float32: 1 where a word occurs in the prompt; other words say nothing."""
    present = set(words_of(prompt or ""))
    return torch.tensor([float(word in present) for word in known])
