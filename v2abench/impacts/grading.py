"""Grading many sounds with the oracle, and what their grades come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from v2abench.contracts import Bootstrap
from v2abench.datasets.folder import AUDIO_SUFFIXES, VIDEO_SUFFIXES, media_by_stem
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.impacts.oracle import Grade, answer_to, grade
from v2abench.impacts.scenes import is_clip_id
from v2abench.media.reading import read_audio
from v2abench.metrics.bootstrap import mean_interval
from v2abench.progress import Progress, silent


@dataclass(frozen=True)
class Line:
    """The mean of one of the oracle's grades over clips, with Student's 95 % interval."""

    name: str
    mean: float
    low: float
    high: float


def grade_folder(folder: Path, progress: Progress = silent) -> tuple[dict[str, Grade], dict[str, str]]:
    """Grade each sound of `folder` that is named like a clip of the world, or of the run in it.

    Returns the grades by clip, and why others could not be graded. Raises `V2ABenchError`
    where there is no such sound.
    """
    place = folder / "audio" if (folder / "audio").is_dir() else folder
    files = media_by_stem(place, AUDIO_SUFFIXES + VIDEO_SUFFIXES, str(folder))
    clips = [stem for stem in sorted(files) if is_clip_id(stem)]
    if not clips:
        raise V2ABenchError(f"{folder}: no sound is named like a clip of impacts, such as test-000017.wav")
    grades, faults = {}, {}
    with progress("grade", len(clips)) as advance:
        for clip in clips:
            try:
                grades[clip] = grade(answer_to(clip), read_audio(files[clip]))
            except ClipFault as fault:
                faults[clip] = str(fault)
            advance(1)
    return grades, faults


def summary(grades: Mapping[str, Grade]) -> list[Line]:
    """Return the mean of every grade over the clips; levels by their absolute error."""
    rows = {
        "onset precision": [grade.precision for grade in grades.values()],
        "onset recall": [grade.recall for grade in grades.values()],
        "onset F1": [grade.f1 for grade in grades.values()],
        "right material": [float(grade.right_material) for grade in grades.values()],
        "level error, dB": [abs(grade.level_error_db) for grade in grades.values()],
        "overall": [grade.overall for grade in grades.values()],
    }
    return [_line(name, np.array(values)) for name, values in rows.items() if values]


def _line(name: str, values: np.ndarray) -> Line:
    interval = mean_interval(values, Bootstrap())
    mean = float(values.mean())
    return Line(name, mean, interval.low if interval else mean, interval.high if interval else mean)
