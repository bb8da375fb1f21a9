"""The Markdown report on a sample folder, its grades, its pairs and its raters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from v2abench.files import write_text
from v2abench.finetune.preferences import plots
from v2abench.finetune.preferences.pairs import read_pairs
from v2abench.finetune.preferences.ratings import (
    COMPARISONS,
    RATINGS,
    agreement,
    read_comparisons,
    read_ratings,
)
from v2abench.finetune.preferences.rules import STAGE_THRESHOLD
from v2abench.finetune.preferences.samples import SampleFolder, read_samples
from v2abench.finetune.preferences.scoring import PROBABILITIES, SCORES, StoredScores, read_scores
from v2abench.metrics.audioscore import open_audioscore
from v2abench.metrics.audioscore_classifier import CLASSES


def write_report(folder: Path, output: Path, pairs: Path | None, audioscore: str | None) -> Path:
    """Write `report.md` and its plots into `output` and return its path.

    The fit's figures are those of `audioscore`; raises `V2ABenchError` where something cannot be read.
    """
    samples = read_samples(folder)
    parts = [_about_samples(samples)]
    if (folder / SCORES).is_file():
        parts.append(_about_scores(read_scores(folder), output))
    if audioscore is not None:
        parts.append(_about_fit(open_audioscore(audioscore).card, audioscore, output))
    if pairs is not None:
        parts.append(_about_pairs(pairs, output))
    parts.append(_about_raters(folder))
    write_text(output / "report.md", "\n".join(part for part in parts if part))
    return output / "report.md"


def _about_samples(folder: SampleFolder) -> str:
    failed = sum(sample.failed is not None for sample in folder.samples)
    model, data = folder.card["model"], folder.card["dataset"]
    return (
        f"# Preference data of {model['name']} on {data['name']}\n\n"
        f"{len(folder.samples)} samples: {folder.card['n']} of each of {len(folder.clips)} clips, "
        f"seed {folder.card['seed']}; {failed} failed.\n"
    )


def _about_scores(scores: StoredScores, output: Path) -> str:
    table, components = scores.table, scores.components
    values = table[[c.name for c in components]].to_numpy(dtype=np.float64)
    said = _said(table)
    plots.plot_components(output / "components.png", values, components, said)
    rows = [
        [c.name, "↑" if c.sign > 0 else "↓", str(len(column)), *_spread(column)]
        for c, column in zip(components, (v[~np.isnan(v)] for v in values.T), strict=True)
    ]
    graded = (
        "Graded by the fitted AudioScore `{}`: {}.".format(
            scores.about["audioscore"],
            ", ".join(f"{said.count(k)} {name}" for k, name in enumerate(CLASSES)),
        )
        if scores.calibrated
        else "No fitted AudioScore: the composite is **uncalibrated** and orders these samples only."
    )
    unusable = int(table["unusable"].notna().sum())
    heading = ["component", "better", "samples", "mean", "10 %", "median", "90 %"]
    return (
        f"## Components\n\nProtocol `{scores.about['protocol']}`. {graded} {unusable} cannot be heard.\n\n"
        f"{_table(heading, rows)}\n![distribution of components](components.png)\n"
    )


def _said(table: pd.DataFrame) -> list[int | None]:
    probabilities = table[list(PROBABILITIES)].to_numpy(dtype=np.float64)
    return [None if np.isnan(row).any() else int(row.argmax()) for row in probabilities]


def _spread(column: np.ndarray[Any, np.dtype[np.float64]]) -> list[str]:
    if not len(column):
        return [""] * 4
    return [f"{v:.3g}" for v in (column.mean(), *np.quantile(column, [0.1, 0.5, 0.9]))]


def _about_fit(card: Mapping[str, Any], name: str, output: Path) -> str:
    held, rated = card["held_out"], card["ratings"]
    plots.plot_confusion(output / "confusion.png", held["confusion"])
    plots.plot_calibration(output / "calibration.png", held["calibration"])
    return (
        f"## The fitted AudioScore `{name}`\n\n"
        f"{rated['ratings']} ratings by {rated['raters']} raters of {rated['sounds']} sounds of "
        f"{rated['clips']} clips; Krippendorff's alpha (ordinal) {_number(rated['alpha_ordinal'])}. "
        f"Held out: {held['sounds']} sounds, accuracy {held['accuracy']:.3f} (the commonest class alone "
        f"{held['majority']:.3f}), macro-F1 {held['macro_f1']:.3f}, expected calibration error "
        f"{held['ece']:.3f}, with balanced classes {held['ece_balanced']:.3f}.\n\n"
        "![confusion matrix](confusion.png) ![calibration](calibration.png)\n"
    )


def _about_pairs(path: Path, output: Path) -> str:
    found = read_pairs(path)
    automatic = [pair.complexity for pair in found if pair.source == "auto"]
    easy = sum(score > STAGE_THRESHOLD for score in automatic)
    plots.plot_complexity(output / "complexity.png", automatic)
    dropped = [
        [part["folder"], why, str(count)]
        for part in found.card["folders"]
        for why, count in sorted(part["dropped"].items())
    ]
    share = f"{easy / len(found):.1%}" if len(found) else "none"
    return (
        f"## Pairs\n\n{len(found)} pairs by the rule `{found.card['rule']}`, {len(found) - len(automatic)} "
        f"of them by people (complexity 0). In stage 1, with a complexity score above {STAGE_THRESHOLD:g}: "
        f"{easy}, {share} of all.\n\n"
        + (_table(["folder", "dropped because", "pairs"], dropped) + "\n" if dropped else "")
        + "![complexity scores](complexity.png)\n"
    )


def _about_raters(folder: Path) -> str:
    parts = []
    if (folder / RATINGS).is_file():
        ratings = read_ratings(folder / RATINGS)
        rows = [
            [rater, *(str(sum(r.rater == rater and r.rating == name for r in ratings)) for name in CLASSES)]
            for rater in sorted({rating.rater for rating in ratings})
        ]
        parts.append(
            f"## Ratings\n\n{_table(['rater', *CLASSES], rows)}\nKrippendorff's alpha: ordinal "
            f"{_number(agreement(ratings))}, nominal {_number(agreement(ratings, 'nominal'))} "
            "(1: perfect, 0: chance).\n"
        )
    if (folder / COMPARISONS).is_file():
        compared = read_comparisons(folder / COMPARISONS)
        ties = sum(comparison.choice == "tie" for comparison in compared)
        raters = len({comparison.rater for comparison in compared})
        parts.append(f"## Comparisons\n\n{len(compared)} by {raters} raters, {ties} of them ties.\n")
    return "\n".join(parts)


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
