"""The conditions of clips from the feature store, computed once for each content."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from v2abench.baselines.mmaudio.conditions import MMAudioClip, MMAudioSync, MMAudioText
from v2abench.baselines.mmaudio.variants import CLIP_RATE, SYNC_RATE
from v2abench.contracts import Request
from v2abench.errors import ClipFault
from v2abench.features.conditions import ConditionStore
from v2abench.features.extraction import Content
from v2abench.features.store import Record
from v2abench.flow import Conditions
from v2abench.networks.synchformer.visual import HOP_FRAMES, SEGMENT_FRAMES

CLIP, SYNC, TEXT = MMAudioClip(), MMAudioSync(), MMAudioText()

LEAST_SECONDS = SEGMENT_FRAMES / SYNC_RATE
"""One segment of Synchformer."""

SPARE = 1
"""How many of CLIP's pictures, or of Synchformer's segments, the end may lack: the last stands still."""

_log = logging.getLogger(__name__)


def clip_tokens(seconds: float) -> int:
    """Return how many pictures CLIP sees of so many seconds."""
    return int(CLIP_RATE * seconds)


def sync_segments(seconds: float) -> int:
    """Return how many segments Synchformer sees of so many seconds."""
    return (int(SYNC_RATE * seconds) - SEGMENT_FRAMES) // HOP_FRAMES + 1


@dataclass(frozen=True)
class StoredConditions:
    """Conditions by way of a feature store, each computed once for each content."""

    store: ConditionStore

    def compute(self, requests: Sequence[Request]) -> None:
        """Compute and store what is missing for the clips of `requests`."""
        found = self.store.videos([request.clip for request in requests])
        videos = [item for item in found if isinstance(item, Content)]
        self.store.compute({TEXT: _texts(requests)}, "read prompts for MMAudio")
        self.store.compute({CLIP: videos, SYNC: videos}, "read pictures for MMAudio")

    def text(self, text: str) -> torch.Tensor:
        """Return the (77, 1024) states of one text."""
        content = Content.of_text(text)
        self.store.compute({TEXT: [content]}, "read prompts for MMAudio")
        record = self.store.read(TEXT, [content])[content.hash]
        return torch.from_numpy(record.features["tokens"].copy())

    def read(self, requests: Sequence[Request]) -> list[Conditions | ClipFault]:
        """Return the stored conditions of each clip, cut to its seconds, or why there are none."""
        found, texts = self.store.videos([request.clip for request in requests]), _texts(requests)
        videos = [item for item in found if isinstance(item, Content)]
        seen, watched = self.store.read(CLIP, videos), self.store.read(SYNC, videos)
        told = self.store.read(TEXT, texts)
        answers: list[Conditions | ClipFault] = []
        for request, item, text in zip(requests, found, texts, strict=True):
            if isinstance(item, ClipFault):
                answers.append(item)
                continue
            try:
                answers.append(_conditions(request, seen[item.hash], watched[item.hash], told[text.hash]))
            except ClipFault as fault:
                answers.append(fault)
        return answers


def _texts(requests: Sequence[Request]) -> list[Content]:
    """The text that each clip's sound is asked for with; empty where it has none."""
    return [Content.of_text(request.clip.prompt or "") for request in requests]


def _conditions(request: Request, seen: Record, watched: Record, text: Record) -> Conditions:
    for record in (seen, watched, text):
        if record.fault is not None:
            raise record.fault
    seconds = request.seconds
    if seconds < LEAST_SECONDS:
        raise ClipFault("too-short", f"MMAudio needs {LEAST_SECONDS} s, {seconds:.3g} s are asked for")
    clip = _cut(request, seen.features["frames"], clip_tokens(seconds))
    sync = _cut(request, watched.features["segments"], sync_segments(seconds))
    return {
        "clip": torch.from_numpy(clip),
        "sync": torch.from_numpy(sync).flatten(0, 1),
        "text": torch.from_numpy(text.features["tokens"].copy()),
    }


def _cut(request: Request, values: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The first `count` of the values; the last is repeated where one is missing."""
    missing = count - len(values)
    if missing > SPARE:
        detail = f"the pictures end too early for the {request.seconds:.3g} s of sound asked for"
        raise ClipFault("too-short", detail)
    if missing > 0:
        _log.warning("%s: its last picture stands still under the end of the sound", request.clip.id)
        values = np.concatenate([values, values[-1:]])
    return values[:count].copy()
