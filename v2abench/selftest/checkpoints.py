"""The official checkpoints in the cache: their hashes, and what they say of a clip of `impacts`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from v2abench import registry
from v2abench.clips import Clip
from v2abench.contracts import Network
from v2abench.datasets.opening import DatasetOptions, open_dataset
from v2abench.errors import ClipFault
from v2abench.features.extraction import Content, Job, exact_arithmetic
from v2abench.features.plan import is_media
from v2abench.features.preparing import prepare
from v2abench.weights.registry import identity, lookup, state

SECONDS = 4.0

PINNED: dict[tuple[str, str], float] = {}
"""(network, SHA-256 of its checkpoint) -> the value that it must give, for those that are known."""

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Answer:
    """What a network with an official checkpoint says: the root mean square of its first feature.

    `value` is None where it said nothing, for the `problem`. `pinned` is the value that is
    known for this checkpoint, None where none is.
    """

    network: str
    sha256: str
    value: float | None
    pinned: float | None
    problem: str | None = None

    @property
    def passed(self) -> bool:
        """Whether there is a value, and it is the pinned one, if there is one."""
        if self.value is None:
            return False
        return self.pinned is None or abs(self.value - self.pinned) <= TOLERANCE * abs(self.pinned)


def checkpoints_here() -> Iterator[tuple[str, str]]:
    """Yield the name and SHA-256 of each checkpoint in the cache."""
    for name in sorted({weight for network in _networks() for weight in network.weights}):
        if state(name) == "ok":
            yield lookup(name).name, identity(name)


def answers(device: str) -> Iterator[Answer]:
    """Yield what each network whose checkpoints are in the cache says of the first `impacts` clip."""
    usable = [network for network in _networks() if all(state(name) == "ok" for name in network.weights)]
    if not usable:
        return
    (clip,) = open_dataset("impacts", DatasetOptions(limit=1)).clips
    for network in usable:
        sha256 = identity(network.weights[0])
        pinned = PINNED.get((network.name, sha256))
        try:
            yield Answer(network.name, sha256, _value(network, clip, device), pinned)
        except ClipFault as fault:
            yield Answer(network.name, sha256, None, pinned, str(fault))


def _networks() -> list[Network]:
    """The registered networks over media that need a checkpoint."""
    built = [registry.load("networks", name)() for name in registry.names("networks")]
    return [network for network in built if is_media(network) and network.weights]


def _value(network: Network, clip: Clip, device: str) -> float:
    """Ask one network; raises `ClipFault` where it can say nothing of the clip."""
    file = clip.video if network.modality == "video" or clip.reference is None else clip.reference
    content = Content.of_text(clip.label or "") if network.modality == "text" else Content(file, "")
    (prepared,) = prepare(Job(content, (network,)), SECONDS)
    if isinstance(prepared, ClipFault):
        raise prepared
    with torch.inference_mode(), exact_arithmetic():
        features = network.load(device)([prepared])[0]
    return float(np.sqrt(np.mean(np.square(features[network.features[0]], dtype=np.float64))))
