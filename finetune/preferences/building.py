"""From scored samples, and from what people chose, to pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from v2abench import __version__
from v2abench.errors import V2ABenchError
from v2abench.finetune.preferences.pairs import Pair, Source, relative_folder, write_pairs
from v2abench.finetune.preferences.ratings import (
    COMPARISONS,
    RATINGS,
    Rating,
    read_comparisons,
    read_ratings,
    votes,
    winners,
)
from v2abench.finetune.preferences.rules import (
    STAGE_THRESHOLD,
    Floats,
    Rule,
    RuleOptions,
    best_and_worst,
    choose,
    complexity,
    fault_of,
)
from v2abench.finetune.preferences.samples import Sample, SampleFolder, read_samples
from v2abench.finetune.preferences.scoring import PROBABILITIES, SCORES, StoredScores, read_scores


@dataclass
class Built:
    """Pairs, how many clips were looked at, and why pairs were dropped."""

    pairs: list[Pair] = field(default_factory=list)
    clips: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Maker:
    """Makes rows of a pairs file out of the samples of one folder."""

    folder: SampleFolder
    pairs_file: Path
    grades: pd.DataFrame | None

    def pair(self, winner: Sample, loser: Sample, source: Source, score: float) -> Pair:
        clip = self.folder.clips[winner.clip]
        return Pair(
            clip=clip.id,
            prompt=clip.prompt,
            video=str(clip.video),
            source=source,
            complexity=score,
            samples=relative_folder(self.folder.path, self.pairs_file),
            **self._side("winner", winner),
            **self._side("loser", loser),
        )

    def _side(self, side: Literal["winner", "loser"], sample: Sample) -> dict[str, Any]:
        known: dict[str, Any] = {
            side: sample.sample,
            f"{side}_audio": sample.audio,
            f"{side}_hash": sample.audio_hash,
            f"{side}_seed": sample.seed,
            f"{side}_latent": sample.latent,
        }
        if self.grades is None or sample.sample not in self.grades.index:
            return known
        rows = self.grades.loc[[sample.sample], list(PROBABILITIES)].to_numpy(dtype=np.float64)
        grades = [None if np.isnan(grade) else grade for grade in rows[0].tolist()]
        return known | {f"{side}_{name}": grade for name, grade in zip(PROBABILITIES, grades, strict=True)}


def pair_folders(
    folders: Sequence[Path], rule: Rule | None, options: RuleOptions, pairs_file: Path
) -> dict[str, Any]:
    """Write the pairs of sample folders, AudioScore's by `rule` and those of people; return the card.

    People's are those of `comparisons.csv` and, best against worst of a clip, of `ratings.csv` where
    a folder has them. A pair that people and AudioScore both chose is people's.
    """
    parts = [_pair_folder(folder, rule, options, pairs_file) for folder in folders]
    pairs = [pair for found, _ in parts for pair in found]
    easy = sum(pair.complexity > STAGE_THRESHOLD for pair in pairs)
    card: dict[str, Any] = {
        "v2abench": __version__,
        "rule": rule,
        "options": asdict(options),
        "pairs": len(pairs),
        "human_pairs": sum(pair.source == "human" for pair in pairs),
        "stage_threshold": STAGE_THRESHOLD,
        "stage1": easy,
        "stage1_share": easy / len(pairs) if pairs else None,
        "folders": [about for _, about in parts],
    }
    write_pairs(pairs_file, pairs, card)
    return card


def _pair_folder(
    path: Path, rule: Rule | None, options: RuleOptions, pairs_file: Path
) -> tuple[list[Pair], dict[str, Any]]:
    folder = read_samples(path)
    scores = read_scores(path) if rule is not None or (path / SCORES).is_file() else None
    by_people = human_pairs(folder, _chosen_by_people(folder), scores, pairs_file)
    taken = {frozenset((pair.winner, pair.loser)) for pair in by_people.pairs}
    built = Built()
    if rule is not None and scores is not None:
        built = auto_pairs(folder, scores, rule, options, pairs_file)
    automatic = [pair for pair in built.pairs if frozenset((pair.winner, pair.loser)) not in taken]
    dropped = dict(built.dropped)
    if double := len(built.pairs) - len(automatic):
        dropped["people judged the same pair"] = double
    about = {
        "folder": relative_folder(path, pairs_file),
        "model": folder.card["model"],
        "dataset": folder.card["dataset"],
        "n": folder.card["n"],
        "graded_by": scores.about["audioscore"] if scores is not None else None,
        "protocol": scores.about["protocol"] if scores is not None else None,
        "clips": built.clips,
        "dropped": dropped,
    }
    return [*automatic, *by_people.pairs], about


def _chosen_by_people(folder: SampleFolder) -> list[tuple[str, str]]:
    chosen: dict[frozenset[str], tuple[str, str]] = {}
    if (folder.path / RATINGS).is_file():
        rated = chosen_by_ratings(folder, read_ratings(folder.path / RATINGS))
        chosen |= {frozenset(pair): pair for pair in rated}
    if (folder.path / COMPARISONS).is_file():
        compared = winners(read_comparisons(folder.path / COMPARISONS))
        chosen |= {frozenset(pair): pair for pair in compared}
    return list(chosen.values())


def auto_pairs(
    folder: SampleFolder, scores: StoredScores, rule: Rule, options: RuleOptions, pairs_file: Path
) -> Built:
    """Return the pairs that `rule` takes of each clip's graded samples.

    Raises `V2ABenchError` for a rule that needs probabilities where no fitted AudioScore gave any.
    """
    if not scores.calibrated and rule not in ("best_worst", "random"):
        raise V2ABenchError(
            f"--rule {rule} needs P(Good) and P(Bad), but {folder.path} was scored with the uncalibrated "
            "composite only; score with --audioscore, or use --rule best_worst"
        )
    table = scores.table.set_index("sample")
    maker = _Maker(folder, pairs_file, table if scores.calibrated else None)
    built = Built()
    with_grade = set(table.index[table["composite"].notna()])
    for clip_id, samples in _by_clip(folder).items():
        graded = [sample for sample in samples if sample.failed is None and sample.sample in with_grade]
        built.clips += 1
        if len(graded) < 2:
            built.dropped["fewer than two samples are graded"] += 1
            continue
        rows = table.loc[[s.sample for s in graded]]
        probabilities, good = _grades(rows, scores.calibrated)
        unusable = [None if pd.isna(why) else str(why) for why in rows["unusable"]]
        chosen = choose(rule, probabilities, clip_id, options)
        if not chosen:
            built.dropped["no pair is above the margin"] += 1
        for pair in chosen:
            if fault := fault_of(pair, good, unusable):
                built.dropped[fault] += 1
                continue
            score = complexity(probabilities[pair[0]], probabilities[pair[1]]) if scores.calibrated else 0.0
            built.pairs.append(maker.pair(graded[pair[0]], graded[pair[1]], "auto", score))
    return built


def human_pairs(
    folder: SampleFolder, chosen: Iterable[tuple[str, str]], scores: StoredScores | None, pairs_file: Path
) -> Built:
    """Return the (winner, loser) sample ids that people chose as pairs of complexity 0."""
    grades = scores.table.set_index("sample") if scores is not None and scores.calibrated else None
    maker, known, built = _Maker(folder, pairs_file, grades), folder.by_id, Built()
    clips = set()
    for names in chosen:
        if lacking := [name for name in names if name not in known]:
            raise V2ABenchError(f"sample {lacking[0]!r} was rated, but {folder.path} does not have it")
        winner, loser = (known[name] for name in names)
        if winner.clip != loser.clip:
            raise V2ABenchError(f"{winner.sample} and {loser.sample} were compared, but are of two clips")
        clips.add(winner.clip)
        built.pairs.append(maker.pair(winner, loser, "human", 0.0))
    built.clips = len(clips)
    return built


def chosen_by_ratings(folder: SampleFolder, ratings: Sequence[Rating]) -> list[tuple[str, str]]:
    """Return, a clip each, the best and the worst rated sample: the mean of Good 1, Medium 0, Bad −1.

    Clips whose rated samples are all rated alike give none.
    """
    chosen = []
    for samples in _by_clip(folder).values():
        counts = votes(ratings, [s.sample for s in samples])
        rated = np.flatnonzero(counts.sum(axis=1))
        if len(rated) < 2:
            continue
        means = (counts[rated, 0] - counts[rated, 2]) / counts[rated].sum(axis=1)
        best, worst = best_and_worst(means)
        if means[best] > means[worst]:
            chosen.append((samples[rated[best]].sample, samples[rated[worst]].sample))
    return chosen


def _grades(rows: pd.DataFrame, calibrated: bool) -> tuple[Floats, Floats]:
    """(n, 3) probabilities, and (n,) what the winner must have more of: P(Good), or else the composite."""
    if calibrated:
        probabilities = rows[list(PROBABILITIES)].to_numpy(dtype=np.float64)
        return probabilities, probabilities[:, 0]
    good = rows["composite"].to_numpy(dtype=np.float64)
    return np.stack([good, np.zeros_like(good), -good], axis=1), good


def _by_clip(folder: SampleFolder) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {clip_id: [] for clip_id in folder.clips}
    for sample in folder.samples:
        found[sample.clip].append(sample)
    return found
