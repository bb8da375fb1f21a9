"""What a prompt of the world names: the materials, as a vector that the tagger's classes can be held against.

It stands in for CLAP's text side on the embedded benchmark.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from v2abench.contracts import Forward, Prepared
from v2abench.errors import ClipFault
from v2abench.impacts.materials import MATERIALS
from v2abench.impacts.tagger import CLASSES
from v2abench.networks.facts import pass_through


@dataclass(frozen=True)
class ImpactsWords:
    """The `impacts_words` network, without weights: `classes` (9,) float64, as the tagger's `CLASSES`.

    1 for each material whose name, or whose object's words (`wooden block`), occur in the text.
    """

    name: ClassVar[str] = "impacts_words"
    version: ClassVar[int] = 1
    modality: ClassVar[Literal["text"]] = "text"
    weights: ClassVar[tuple[str, ...]] = ()
    features: ClassVar[tuple[str, ...]] = ("classes",)
    frames: ClassVar[None] = None
    parameters: ClassVar[Mapping[str, object]] = {}

    def prepare(self, media: str) -> Prepared:
        """Look for the words; raises `ClipFault` where the text names no material of the world."""
        text = media.lower()
        named = {m.name for m in MATERIALS if re.search(rf"\b({m.name}|{m.thing})\b", text)}
        if not named:
            raise ClipFault("undefined", "the text names no material of the world")
        return Prepared({"classes": np.array([float(name in named) for name in CLASSES])})

    def load(self, device: str) -> Forward:  # noqa: ARG002 (the contract's signature)
        """Return the forward half, which hands on what `prepare` found."""
        return pass_through
