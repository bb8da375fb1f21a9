"""The plots of a preference report, as PNG: components, confusion, calibration, complexity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from v2abench.files import atomic
from v2abench.finetune.preferences.rules import STAGE_THRESHOLD
from v2abench.metrics.audioscore_classifier import CLASSES
from v2abench.metrics.audioscore_components import Component
from v2abench.metrics.samples import Floats

_COLOURS = ("tab:green", "tab:orange", "tab:red")


def plot_components(
    path: Path, values: Floats, components: Sequence[Component], said: Sequence[int | None]
) -> None:
    """Histograms of (n, k) components, stacked by the likeliest class `said` (None: not graded)."""
    figure = Figure(figsize=(3.2 * len(components), 2.8), layout="constrained")
    row = figure.subplots(1, len(components), squeeze=False)[0]
    for axes, component, column in zip(row, components, values.T, strict=True):
        present = ~np.isnan(column)
        groups = [column[present & np.array([s == k for s in said])] for k in range(len(CLASSES))]
        ungraded = column[present & np.array([s is None for s in said])]
        if present.any():
            axes.hist([*groups, ungraded], bins=20, stacked=True, color=[*_COLOURS, "tab:grey"])
        arrow = "higher is better" if component.sign > 0 else "lower is better"
        axes.set(xlabel=f"{component.name} ({arrow})", ylabel="samples")
    marks = [Patch(color=c, label=n) for c, n in zip(_COLOURS, CLASSES, strict=True)]
    figure.axes[-1].legend(handles=[*marks, Patch(color="tab:grey", label="not graded")], fontsize="small")
    _save(figure, path)


def plot_confusion(path: Path, confusion: Sequence[Sequence[int]]) -> None:
    """The confusion matrix of held-out sounds: rated in rows, said in columns."""
    counts = np.array(confusion)
    figure = Figure(figsize=(3.4, 3.0), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues")
    for row, column in np.ndindex(counts.shape):
        shade = "white" if counts[row, column] > counts.max() / 2 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=shade)
    axes.set(xlabel="said", ylabel="rated", xticks=range(3), yticks=range(3), xticklabels=CLASSES)
    axes.set_yticklabels(CLASSES)
    _save(figure, path)


def plot_calibration(path: Path, bins: Sequence[Mapping[str, Any]]) -> None:
    """How often the likeliest class was right, over how sure it was; numbers are sounds a bin."""
    figure = Figure(figsize=(3.4, 3.0), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    axes.plot([b["confidence"] for b in bins], [b["accuracy"] for b in bins], marker="o")
    for b in bins:
        axes.annotate(str(b["count"]), (b["confidence"], b["accuracy"]), fontsize="small")
    axes.set(xlabel="confidence", ylabel="share that was right", xlim=(0, 1), ylim=(0, 1.05))
    _save(figure, path)


def plot_complexity(path: Path, scores: Sequence[float]) -> None:
    """The complexity scores of automatic pairs, with the threshold between the stages."""
    figure = Figure(figsize=(4.2, 3.0), layout="constrained")
    axes = figure.subplots()
    lowest = -1.0 if min(scores, default=0.0) < 0 else 0.0
    axes.hist(scores, bins=np.arange(lowest, 1.01, 0.05).tolist())
    axes.axvline(STAGE_THRESHOLD, color="tab:red")
    easy = sum(score > STAGE_THRESHOLD for score in scores)
    axes.set(xlabel="complexity score", ylabel="pairs", title=f"{easy} of {len(scores)} in stage 1")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with atomic(path) as temporary:
        FigureCanvasAgg(figure)
        figure.savefig(temporary, format="png", metadata={"Software": None})
