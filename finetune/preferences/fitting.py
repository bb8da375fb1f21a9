"""From ratings to a fitted AudioScore: the rated sounds are found, scored and learnt from.

A ratings CSV has `sample`, and lies in the sample folder that it rates; or it has `audio` and
`video`, paths relative to the file, and maybe `reference`, `prompt` and `speech` (1 or 0).
Both have `rating`, and may have `rater`.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from v2abench import __version__
from v2abench.clips import Clip
from v2abench.errors import V2ABenchError
from v2abench.features.extraction import Extractor
from v2abench.files import atomic
from v2abench.finetune.preferences.ratings import Rating, agreement, read_ratings, votes
from v2abench.finetune.preferences.samples import CARD, read_samples
from v2abench.finetune.preferences.scoring import Scores, Sound, score_sounds, sounds_of
from v2abench.metrics.audioscore_classifier import as_bytes
from v2abench.metrics.audioscore_components import Component
from v2abench.metrics.audioscore_fit import Fit, Rated, fit
from v2abench.protocols.schema import Protocol


@dataclass(frozen=True)
class RatedSounds:
    """Sounds of one ratings file, and the ratings under the sounds' ids."""

    sounds: tuple[Sound, ...]
    ratings: tuple[Rating, ...]


@dataclass(frozen=True, eq=False)
class Fitted:
    """What `fit_files` made: the fit, the rated sounds' scores, their clips, and the card."""

    fit: Fit
    scores: Scores
    rated: Rated
    card: dict[str, Any]


def fit_files(
    files: Sequence[Path],
    output: Path,
    components: Sequence[Component],
    protocol: Protocol,
    extractor: Extractor,
    *,
    seed: int = 0,
    offline: bool = False,
) -> Fitted:
    """Fit AudioScore on ratings files and write it to `output`, a `.safetensors` file.

    Raises `V2ABenchError` for files that do not fit together, and for too few ratings.
    """
    if output.suffix != ".safetensors":
        raise V2ABenchError(f"--output {output}: a fitted AudioScore is a .safetensors file")
    found = [read_rated(path) for path in files]
    sounds = [sound for part in found for sound in part.sounds]
    ratings = [rating for part in found for rating in part.ratings]
    alpha = agreement(ratings)
    scores = score_sounds(sounds, components, protocol, extractor, offline=offline)
    rated = Rated(scores.values, votes(ratings, scores.ids), [sound.clip.id for sound in sounds])
    made = fit(rated, seed)
    card = {
        "schema_version": 1,
        "v2abench": __version__,
        "protocol": f"{protocol.name}:{protocol.version}@{protocol.fingerprint}",
        "stands_on": dict(scores.stands_on),
        "ratings": {
            "sha256": _digest(files),
            "files": len(files),
            "raters": len({rating.rater for rating in ratings}),
            "ratings": len(ratings),
            "sounds": len(sounds),
            "clips": len(set(rated.clips)),
            "alpha_ordinal": alpha,
        },
        "seed": seed,
        "steps": made.steps,
        "held_out": asdict(made.figures),
        "missing": list(scores.warnings),
    }
    arrays = {**made.arrays, **{f"prior.{name}": prior for name, prior in scores.priors.items()}}
    with atomic(output) as temporary:
        temporary.write_bytes(as_bytes(components, arrays, card))
    return Fitted(made, scores, rated, card)


def read_rated(path: Path) -> RatedSounds:
    """Return the rated sounds of one file; raises `V2ABenchError` where they cannot be found."""
    columns = _columns(path)
    if {"audio", "video"} <= columns:
        return _of_files(path)
    folder = path.parent
    if not (folder / CARD).is_file():
        raise V2ABenchError(
            f"{path} names samples, but does not lie in a sample folder; put it there, or give the columns "
            "audio and video instead of sample"
        )
    ratings = read_ratings(path)
    read = read_samples(folder)
    known = read.by_id
    if lacking := [rating.sample for rating in ratings if rating.sample not in known]:
        raise V2ABenchError(f"{path} rates {lacking[0]!r}, which {folder} does not have")
    wanted = {rating.sample for rating in ratings}
    prefix = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
    sounds = [sound for sound in sounds_of(read) if sound.id in wanted and isinstance(sound.audio, Path)]
    return RatedSounds(
        tuple(Sound(f"{prefix}/{sound.id}", sound.clip, sound.audio) for sound in sounds),
        tuple(Rating(r.rater, f"{prefix}/{r.sample}", r.rating) for r in ratings),
    )


def _of_files(path: Path) -> RatedSounds:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    sounds = {row["audio"]: _sound(row, path) for row in rows}
    return RatedSounds(tuple(sounds.values()), tuple(read_ratings(path, "audio")))


def _sound(row: dict[str, str], path: Path) -> Sound:
    reference = row.get("reference")
    places = {name: path.parent / row[name] for name in ("audio", "video")}
    for name, place in places.items():
        if not place.is_file():
            raise V2ABenchError(f"{path}: {name} {row[name]} does not exist; paths are relative to the CSV")
    clip = Clip(
        row["video"],
        places["video"],
        path.parent / reference if reference else places["video"],
        row.get("prompt") or None,
        speech=row.get("speech") == "1",
    )
    return Sound(row["audio"], clip, places["audio"])


def _columns(path: Path) -> set[str]:
    if not path.is_file():
        raise V2ABenchError(f"{path} does not exist; give a CSV of ratings")
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return set(next(csv.reader(stream), []))


def _digest(files: Sequence[Path]) -> str:
    whole = hashlib.sha256()
    for path in files:
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()
