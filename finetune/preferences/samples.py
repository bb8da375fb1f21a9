"""The sample folder: N sounds a clip of one model, as `v2abench prefs sample` writes them.

card.json          the model, its recipe, the dataset, n, seed and seconds
clips.parquet      id, video and reference (absolute paths), prompt, label, speech
samples.parquet    sample (`CLIP#K`), clip, index, seed, audio and latent (relative paths,
the latent as `FILE#KEY`), audio_hash, failed (the reason, or null)
audio/CLIP/K.flac
latents/CLIP.safetensors   keys `0` ... `n-1`, float16: the sampler's final latents (flow models)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from v2abench.clips import Clip
from v2abench.errors import V2ABenchError
from v2abench.files import atomic, inside_for_good

CARD = "card.json"
CLIPS = "clips.parquet"
SAMPLES = "samples.parquet"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Sample:
    """One sound of one clip; the fields are the columns of `samples.parquet`."""

    sample: str
    clip: str
    index: int
    seed: int
    audio: str | None
    audio_hash: str | None
    latent: str | None
    failed: str | None


@dataclass(frozen=True)
class SampleFolder:
    """A folder of samples, read: the clips by id, and the samples in the order of the dataset."""

    path: Path
    card: Mapping[str, Any]
    clips: Mapping[str, Clip]
    samples: tuple[Sample, ...]

    @property
    def by_id(self) -> dict[str, Sample]:
        """The samples by their ids."""
        return {sample.sample: sample for sample in self.samples}

    def audio(self, sample: Sample) -> Path:
        """Return the file of a sample that did not fail."""
        if sample.audio is None:
            raise V2ABenchError(f"{self.path}: sample {sample.sample} has no sound: {sample.failed}")
        place = inside_for_good(self.path, sample.audio)
        if place is None:
            raise V2ABenchError(f"{self.path}: sample {sample.sample} lies elsewhere, at {sample.audio!r}")
        return place


def sample_id(clip_id: str, index: int) -> str:
    """Return how the sample `index` of a clip is called."""
    return f"{clip_id}#{index}"


def write_clips(folder: Path, clips: Sequence[Clip]) -> None:
    """Write `clips.parquet` with absolute paths."""
    rows = [
        {
            **asdict(clip),
            "video": str(clip.video.resolve()),
            "reference": str(clip.reference.resolve()) if clip.reference else None,
        }
        for clip in clips
    ]
    with atomic(folder / CLIPS) as temporary:
        pd.DataFrame(rows, columns=[f.name for f in fields(Clip)]).to_parquet(temporary, index=False)


def write_samples(folder: Path, samples: Sequence[Sample]) -> None:
    """Write `samples.parquet`."""
    rows = pd.DataFrame([asdict(sample) for sample in samples], columns=[f.name for f in fields(Sample)])
    with atomic(folder / SAMPLES) as temporary:
        rows.to_parquet(temporary, index=False)


def read_samples(folder: Path) -> SampleFolder:
    """Read a sample folder; raises `V2ABenchError` for what is not one."""
    for name in (CARD, CLIPS, SAMPLES):
        if not (folder / name).is_file():
            raise V2ABenchError(
                f"{folder} is not a finished sample folder (no {name}); `v2abench prefs sample` makes one, "
                "and goes on where it was stopped"
            )
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        if card["schema_version"] != SCHEMA_VERSION:
            raise V2ABenchError(f"{folder / CARD} has another schema; sample anew")
        clips = {row["id"]: _clip(row) for row in _rows(folder / CLIPS)}
        samples = tuple(Sample(**row) for row in _rows(folder / SAMPLES))
    except (ValueError, RecursionError, KeyError, TypeError, pa.ArrowException) as error:
        raise V2ABenchError(f"{folder} holds no samples of v2abench: {error!r}; sample anew") from error
    return SampleFolder(folder, card, clips, samples)


def _rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def _clip(row: Mapping[str, Any]) -> Clip:
    reference = Path(row["reference"]) if row["reference"] else None
    return Clip(row["id"], Path(row["video"]), reference, row["prompt"], row["label"], row["speech"])
