"""A clip is one benchmark item; a dataset is an ordered set of clips."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Clip:
    """One benchmark item.

    `video` is the file with the pictures; `reference` the file with the true
    sound, often the same file, or None where there is none. `speech` marks
    clips of human speech, on which speech-only metrics (PESQ) are defined.
    """

    id: str
    video: Path
    reference: Path | None = None
    prompt: str | None = None
    label: str | None = None
    speech: bool = False


@dataclass(frozen=True)
class Dataset:
    """An ordered set of clips with unique ids.

    `spec` is how the user named it. `distractors` are further clips of the same
    world outside the evaluated set, from which the `shuffled` control draws.
    """

    name: str
    spec: str
    clips: tuple[Clip, ...]
    distractors: tuple[Clip, ...] = ()
    notes: tuple[str, ...] = ()
