"""Ratings of `impacts` samples by its oracle in the place of people.

Each simulated rater sees the oracle's overall grade (onset F1, material, level; 0 to 1) with a
bias of its own and with noise, and calls it Good from 0.85 on and Bad below 0.6. So raters
disagree, and a fit is a statistical task. The shipped AudioScore is fitted on such ratings; nothing
here says what a person would like.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass

import numpy as np

from v2abench.finetune.preferences.ratings import Rating, rating_log
from v2abench.finetune.preferences.samples import SampleFolder
from v2abench.impacts.oracle import answer_to, grade
from v2abench.media.reading import read_audio
from v2abench.progress import Progress, silent

GOOD_FROM = 0.85
BAD_BELOW = 0.6


@dataclass(frozen=True)
class Raters:
    """How many there are, the deviation of their biases and of their noise, and the seed."""

    count: int = 3
    bias: float = 0.03
    noise: float = 0.08
    seed: int = 0


def oracle_grades(folder: SampleFolder, progress: Progress = silent) -> dict[str, float]:
    """Return the oracle's overall grade, 0 to 1, of each sample of `impacts` that did not fail."""
    found = {}
    present = [sample for sample in folder.samples if sample.failed is None]
    with progress("oracle", len(present)) as advance:
        for sample in present:
            found[sample.sample] = grade(answer_to(sample.clip), read_audio(folder.audio(sample))).overall
            advance(1)
    return found


def rate(grades: dict[str, float], raters: Raters) -> list[Rating]:
    """Return what each rater says of each sample; it depends on the names and the seed only."""
    said = []
    for number in range(raters.count):
        bias = raters.bias * _normal(raters.seed, number)
        for sample, value in grades.items():
            heard = value + bias + raters.noise * _normal(raters.seed, number, sample)
            said.append(Rating(f"oracle-{number}", sample, _called(heard)))
    return said


def rate_folder(folder: SampleFolder, raters: Raters, progress: Progress = silent) -> int:
    """Append the oracle's ratings to the folder's `ratings.csv`; return how many."""
    ratings = rate(oracle_grades(folder, progress), raters)
    rating_log(folder.path).append(*(asdict(rating) for rating in ratings))
    return len(ratings)


def _called(heard: float) -> str:
    return "Good" if heard >= GOOD_FROM else "Bad" if heard < BAD_BELOW else "Medium"


def _normal(*names: object) -> float:
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return float(np.random.default_rng(list(digest)).standard_normal())
