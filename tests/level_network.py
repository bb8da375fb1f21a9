"""What networks of tests have in common: they hear a sound and give its level."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from v2abench.contracts import Prepared


class LevelNetwork:
    """A network without weights whose feature is `level`, the mean of a sound."""

    version: ClassVar[int] = 1
    modality: ClassVar[Literal["audio"]] = "audio"
    weights: ClassVar[tuple[str, ...]] = ()
    features: ClassVar[tuple[str, ...]] = ("level",)
    parameters: ClassVar[Mapping[str, object]] = {}
    frames: ClassVar[None] = None

    def prepare(self, media: Any) -> Prepared:
        return Prepared({"level": np.float32(np.abs(media.audio.samples).mean())})
