"""Mixed precision, opt-in: a network whose device half runs under autocast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from v2abench.contracts import Array, Forward, Network, Prepared
from v2abench.errors import V2ABenchError
from v2abench.media.reading import FrameStream

Precision = Literal["bfloat16", "float16"]


@dataclass(frozen=True)
class MixedPrecision:
    """`network` under autocast to `precision`: faster on a GPU, and other values.

    The precision is one of its parameters, so that its features are stored apart from
    those in float32, and signatures name it.
    """

    network: Network
    precision: Precision

    @property
    def name(self) -> str:
        """That of the network."""
        return self.network.name

    @property
    def version(self) -> int:
        """That of the network."""
        return self.network.version

    @property
    def modality(self) -> Literal["audio", "video", "text", "container"]:
        """That of the network."""
        return self.network.modality

    @property
    def weights(self) -> tuple[str, ...]:
        """Those of the network."""
        return self.network.weights

    @property
    def features(self) -> tuple[str, ...]:
        """Those of the network."""
        return self.network.features

    @property
    def frames(self) -> FrameStream | None:
        """Those of the network."""
        return self.network.frames

    @property
    def parameters(self) -> Mapping[str, object]:
        """Those of the network, and the precision."""
        return {**self.network.parameters, "precision": self.precision}

    @property
    def memory(self) -> int:
        """That of the network: weights stay in float32."""
        return int(getattr(self.network, "memory", 0))

    @property
    def package(self) -> str | None:
        """That of the network."""
        package: str | None = getattr(self.network, "package", None)
        return package

    def prepare(self, media: Any) -> Prepared:
        """What the network makes of one clip, in float32."""
        return self.network.prepare(media)

    def load(self, device: str) -> Forward:
        """Return the network's forward half under autocast; features are float32 again.

        Raises `V2ABenchError` where the device has no such precision.
        """
        kind, number = torch.device(device).type, getattr(torch, self.precision)
        if kind == "cpu" and number == torch.float16:
            raise V2ABenchError("--precision float16 needs a GPU; use bfloat16 or float32 on the CPU")
        forward = self.network.load(device)

        def mixed(batch: Sequence[Prepared]) -> list[Mapping[str, Array]]:
            with torch.autocast(kind, dtype=number):
                return list(forward(batch))

        return mixed
