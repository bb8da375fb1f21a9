"""The pairs as a training needs them: latents and conditions by index.

Latents are those that the sampler ended with, read from the sample folder; a pair without them has its
sounds encoded once. Conditions are computed once for each clip and prompt. Both lie on disk.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import Tensor

from v2abench.clips import Clip
from v2abench.contracts import Request
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.finetune.preferences.pairs import Pair, PairSet
from v2abench.finetune.tensors import Named, TensorStore, opened
from v2abench.flow import Conditions, FlowModel
from v2abench.media.reading import read_audio
from v2abench.progress import Progress, silent

_log = logging.getLogger(__name__)
Side = Literal["winner", "loser"]
T = TypeVar("T")

_AT_ONCE = 32


@dataclass(frozen=True)
class PairData:
    """Pairs with all that a step needs of them. `left_out` says why pairs cannot be used."""

    pairs: tuple[Pair, ...]
    source: PairSet
    conditions: TensorStore
    encoded: TensorStore
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pairs)

    def scores(self) -> list[float]:
        """Return the complexity score of every pair."""
        return [pair.complexity for pair in self.pairs]

    def latents(self, indices: Sequence[int]) -> Tensor:
        """Return (2B, ...) float32 latents, the winners of the pairs first, then the losers."""
        chosen = [self.pairs[index] for index in indices]
        sides: tuple[Side, ...] = ("winner", "loser")
        return torch.stack([self._latent(pair, side) for side in sides for pair in chosen])

    def conditions_of(self, indices: Sequence[int], device: str | torch.device) -> Conditions:
        """Return the conditions of the pairs' clips as one batch."""
        batch = self.conditions.stack([condition_key(clip_of(self.pairs[index])) for index in indices])
        return {name: tensor.to(device) for name, tensor in batch.items()}

    def subset(self, indices: Sequence[int]) -> PairData:
        """Return these pairs only."""
        return replace(self, pairs=tuple(self.pairs[index] for index in indices))

    def split(self, held_out: int) -> tuple[PairData, PairData]:
        """Return training and held-out pairs: about `held_out`, chosen by a hash of the clip.

        No clip has pairs in both; at most a fifth of the pairs is held out.
        """
        wanted = min(held_out, len(self) // 5)
        by_clip: dict[str, list[int]] = {}
        for index, pair in enumerate(self.pairs):
            by_clip.setdefault(pair.clip, []).append(index)
        kept: list[int] = []
        for clip in sorted(by_clip, key=lambda clip: hashlib.sha256(clip.encode()).digest()):
            if len(kept) + len(by_clip[clip]) > wanted:
                break
            kept += by_clip[clip]
        chosen = set(kept)
        return self.subset([i for i in range(len(self)) if i not in chosen]), self.subset(sorted(kept))

    def shape_fault(self, pair: Pair, expected: tuple[int, ...]) -> str | None:
        """Say where latents are not of the model's shape: of another model, or of a shorter clip."""
        sides: tuple[Side, ...] = ("winner", "loser")
        found = {tuple(self._latent(pair, side).shape) for side in sides} - {expected}
        return f"its latents are {found.pop()}, the model's are {expected}" if found else None

    def _latent(self, pair: Pair, side: Side) -> Tensor:
        stored = self.source.latent(pair, side)
        if stored is None:
            return self.encoded.read(_hash(pair, side))["latent"]
        path, key = stored
        latent: Tensor = opened(path).get_tensor(key)
        return latent.float()


def prepare_pairs(
    model: FlowModel,
    pairs: PairSet,
    folder: Path,
    *,
    seconds: float,
    fingerprint: str,
    progress: Progress = silent,
) -> PairData:
    """Compute what is not stored yet of latents and conditions into `folder`.

    `fingerprint` names the model; latents are checked against its shape. Raises `V2ABenchError` where
    not a single pair can be used.
    """
    conditions = TensorStore(folder / "conditions", fingerprint)
    encoded = TensorStore(folder / "latents", fingerprint)
    clips = {condition_key(clip): clip for clip in map(clip_of, pairs.pairs)}
    faults = store_conditions(model, list(clips.values()), conditions, seconds, progress)
    unheard = _encode(model, pairs, encoded, seconds, progress)
    left_out, usable = {}, []
    expected = tuple(model.latent_shape(seconds))
    everything = PairData(pairs.pairs, pairs, conditions, encoded)
    for pair in pairs.pairs:
        reason = faults.get(condition_key(clip_of(pair))) or _fault(pair, unheard)
        reason = reason or everything.shape_fault(pair, expected)
        if reason:
            left_out[f"{pair.winner} over {pair.loser}"] = reason
        else:
            usable.append(pair)
    if not usable:
        why = next(iter(left_out.values()), "the file has none")
        raise V2ABenchError(f"no pair can be trained on: {why}; look at the pairs file and its sample folder")
    for name, reason in list(left_out.items())[:5]:
        _log.warning("pair %s is left out: %s", name, reason)
    return replace(everything, pairs=tuple(usable), left_out=left_out)


def clip_of(pair: Pair) -> Clip:
    """Return the clip that a pair is about."""
    return Clip(pair.clip, Path(pair.video), prompt=pair.prompt)


def condition_key(clip: Clip) -> str:
    """Return the key of a clip's conditions: they depend on its video and prompt."""
    return json.dumps([clip.id, str(clip.video), clip.prompt])


def store_conditions(
    model: FlowModel, clips: Sequence[Clip], store: TensorStore, seconds: float, progress: Progress = silent
) -> dict[str, str]:
    """Compute the conditions that `store` lacks; return the faults by key."""
    by_key = {condition_key(clip): clip for clip in clips}
    missing = store.missing(by_key)
    faults: dict[str, str] = {}
    with progress("see the videos", len(missing)) as advance:
        for keys in _batched(missing, _AT_ONCE):
            told = model.condition([Request(by_key[key], seconds, 0) for key in keys])
            found = dict(zip(keys, told, strict=True))
            faults |= {key: str(given) for key, given in found.items() if isinstance(given, ClipFault)}
            store.add({key: given for key, given in found.items() if not isinstance(given, ClipFault)})
            advance(len(keys))
    return faults


def _encode(
    model: FlowModel, pairs: PairSet, store: TensorStore, seconds: float, progress: Progress
) -> dict[str, str]:
    """Encode the sounds of pairs without latents; return the faults by content hash."""
    sides: tuple[Side, ...] = ("winner", "loser")
    sounds = {
        _hash(pair, side): pairs.place(pair, pair.winner_audio if side == "winner" else pair.loser_audio)
        for pair in pairs.pairs
        for side in sides
        if pairs.latent(pair, side) is None
    }
    missing = store.missing(sounds)
    faults: dict[str, str] = {}
    with progress("encode sounds", len(missing)) as advance:
        for keys in _batched(missing, _AT_ONCE):
            made: dict[str, Named] = {}
            for key in keys:
                try:
                    made[key] = {"latent": model.encode([read_audio(sounds[key])], seconds)[0]}
                except ClipFault as fault:
                    faults[key] = str(fault)
            store.add(made)
            advance(len(keys))
    return faults


def _fault(pair: Pair, unheard: Mapping[str, str]) -> str | None:
    return unheard.get(_hash(pair, "winner")) or unheard.get(_hash(pair, "loser"))


def _hash(pair: Pair, side: Side) -> str:
    return pair.winner_hash if side == "winner" else pair.loser_hash


def _batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
