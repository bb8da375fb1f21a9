"""What a person is asked next, blind and shuffled, and what was answered: all of it on disk."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from v2abench.errors import ClipFault, V2ABenchError
from v2abench.finetune.preferences.ratings import (
    CHOICES,
    Log,
    comparison_log,
    rating_log,
    read_comparisons,
    read_ratings,
)
from v2abench.finetune.preferences.samples import Sample, SampleFolder
from v2abench.media.writing import mux
from v2abench.metrics.audioscore_classifier import CLASSES

Mode = Literal["rate", "compare"]


@dataclass(frozen=True)
class Item:
    """One question: one sample to rate, or two of one clip to compare, under a name that tells nothing."""

    key: str
    samples: tuple[Sample, ...]


class RatingSession:
    """The questions of one rater over a sample folder; answers go to the folder's CSV at once.

    The order is drawn from seed and rater. `media` holds what was muxed for playing.
    """

    def __init__(
        self, folder: SampleFolder, rater: str, mode: Mode, media: Path, *, secret: str, seed: int = 0
    ) -> None:
        if not rater.strip() or "\n" in rater:
            raise V2ABenchError(f"--rater {rater!r}: give a name in one line")
        self.folder, self.rater, self.mode, self.media = folder, rater, mode, media
        self.answers = CLASSES if mode == "rate" else CHOICES
        self.items = {item.key: item for item in _items(folder, rater, mode, secret, seed)}
        self._by_samples = {frozenset(s.sample for s in i.samples): i for i in self.items.values()}
        self._log = rating_log(folder.path) if mode == "rate" else comparison_log(folder.path)
        self._answered: list[Item] = _answered(self._log, rater, mode, self._by_samples)
        self._unplayable: dict[str, str] = {}
        self._lock = threading.Lock()
        if not self.items:
            raise V2ABenchError(f"{folder.path} has no sounds to {mode}; sample first")

    def question(self) -> dict[str, object]:
        """Return the next question for the page; its `item` is None where all are answered."""
        with self._lock:
            return self._question()

    def answer(self, key: str, value: str) -> dict[str, object]:
        """Put an answer on disk and return the next question.

        Raises `KeyError` for an unknown question and `ValueError` for an unknown answer.
        """
        with self._lock:
            item = self.items[key]
            if value not in self.answers:
                raise ValueError(f"{value!r} is not one of {', '.join(self.answers)}")
            self._write(item, value)
            self._answered = [other for other in self._answered if other.key != key] + [item]
            return self._question()

    def undo(self) -> dict[str, object]:
        """Take the last answer back, on disk too, and ask it again."""
        with self._lock:
            if not self._answered:
                return self._question()
            item = self._answered.pop()
            self._write(item, "")
            return self._question(first=item)

    def file(self, key: str, side: int) -> Path:
        """Return the video with the sound of one side of a question, made when first asked for.

        Raises `KeyError` or `IndexError` for what is none, and `ClipFault` where it cannot be made.
        """
        sample = self.items[key].samples[side]
        path = self.media / f"{key}-{side}.mp4"
        if not path.is_file():
            mux(self.folder.clips[sample.clip].video, self.folder.audio(sample), path)
        return path

    def _question(self, first: Item | None = None) -> dict[str, object]:
        done = {item.key for item in self._answered}
        waiting = [i for i in self.items.values() if i.key not in done and i.key not in self._unplayable]
        chosen = None
        for item in [first, *waiting] if first else waiting:
            if self._playable(item):
                chosen = item
                break
        return {
            "mode": self.mode,
            "item": chosen.key if chosen else None,
            "media": [f"media/{chosen.key}/{side}.mp4" for side in range(len(chosen.samples))]
            if chosen
            else [],
            "prompt": self.folder.clips[chosen.samples[0].clip].prompt if chosen else None,
            "done": len(done),
            "total": len(self.items),
            "unplayable": len(self._unplayable),
        }

    def _playable(self, item: Item) -> bool:
        try:
            for side in range(len(item.samples)):
                self.file(item.key, side)
        except (ClipFault, V2ABenchError) as fault:
            self._unplayable[item.key] = str(fault)
            return False
        return True

    def _write(self, item: Item, value: str) -> None:
        names = [sample.sample for sample in item.samples]
        if self.mode == "rate":
            self._log.append({"rater": self.rater, "sample": names[0], "rating": value})
        else:
            self._log.append({"rater": self.rater, "first": names[0], "second": names[1], "choice": value})


def _items(folder: SampleFolder, rater: str, mode: Mode, secret: str, seed: int) -> list[Item]:
    present = [sample for sample in folder.samples if sample.failed is None]
    rng = _rng(seed, rater, mode)
    groups = [(sample,) for sample in present] if mode == "rate" else _one_pair_a_clip(present, seed, rng)
    return [
        Item(_key(secret, group), group)
        for group in (groups[n] for n in rng.permutation(len(groups)).tolist())
    ]


def _one_pair_a_clip(
    samples: Sequence[Sample], seed: int, rng: np.random.Generator
) -> list[tuple[Sample, ...]]:
    """Two samples of each clip, the same for all raters; which one is shown first differs."""
    by_clip: dict[str, list[Sample]] = {}
    for sample in samples:
        by_clip.setdefault(sample.clip, []).append(sample)
    pairs = []
    for clip_id, found in by_clip.items():
        if len(found) >= 2:
            chosen = _rng(seed, clip_id).choice(len(found), 2, replace=False)
            pairs.append(tuple(found[int(n)] for n in rng.permutation(chosen)))
    return pairs


def _answered(log: Log, rater: str, mode: Mode, items: Mapping[frozenset[str], Item]) -> list[Item]:
    """The questions that this rater has answered before, the last one last."""
    if not log.path.is_file():
        return []
    if mode == "rate":
        given = [frozenset((r.sample,)) for r in read_ratings(log.path) if r.rater == rater]
    else:
        given = [frozenset((c.first, c.second)) for c in read_comparisons(log.path) if c.rater == rater]
    return [items[names] for names in given if names in items]


def _key(secret: str, group: Sequence[Sample]) -> str:
    names = "\n".join(sample.sample for sample in group)
    return hmac.new(secret.encode(), names.encode(), hashlib.sha256).hexdigest()[:24]


def _rng(*names: object) -> np.random.Generator:
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return np.random.default_rng(list(digest))
