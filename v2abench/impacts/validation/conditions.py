"""The conditions under which metrics are held against the oracle, and running them.

A condition is a model with a known or gradable fault: controls, true sounds corrupted to
several degrees, and tiny-flow sampled well and badly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from v2abench.api import Options, evaluate_models
from v2abench.clips import Dataset
from v2abench.contracts import Request
from v2abench.impacts.grading import grade_folder
from v2abench.impacts.oracle import Grade, answer_to, grade
from v2abench.impacts.scenes import SECONDS
from v2abench.media.reading import read_audio
from v2abench.models import GenerationOptions, ModelContext, open_model
from v2abench.progress import Progress
from v2abench.protocols.schema import Protocol
from v2abench.runs.evaluation import Run

GRADES = ("onset F1", "material", "level", "overall")


@dataclass(frozen=True)
class Condition:
    """A model under test: the `family` it belongs to, its name, its spec, and how it samples."""

    family: str
    name: str
    spec: str
    generation: GenerationOptions | None = None


def _corrupted(kind: str, *strengths: float) -> list[Condition]:
    specs = [f"corrupted:{kind}:{strength:g}" for strength in strengths]
    return [Condition(kind, spec, spec) for spec in specs]


def _sampled(steps: int, guidance: float) -> Condition:
    name = f"tiny-flow-{steps}-steps-guidance-{guidance:g}"
    options = GenerationOptions(steps=steps, guidance_scale=guidance)
    return Condition("tiny-flow", name, f"{name}=tiny-flow", options)


CONDITIONS: tuple[Condition, ...] = (
    *(Condition("control", spec, spec) for spec in ("ground-truth", "reconstruction")),
    *(Condition("control", spec, spec) for spec in ("shuffled", "noise", "silence")),
    *_corrupted("shifted", 0.03, 0.1, 0.2, 0.4),
    *_corrupted("material", 0.25, 0.5, 1.0),
    *_corrupted("noise", 20, 10, 0, -10),
    *_corrupted("dropped", 0.25, 0.75),
    *_corrupted("invented", 1, 6),
    *_corrupted("band", 4000, 1000, 500),
    *_corrupted("clipped", 12, 24),
    *(_sampled(steps, 2.5) for steps in (1, 2, 8)),
    *(_sampled(8, guidance) for guidance in (0.0, 5.0)),
)


@dataclass(frozen=True)
class Evidence:
    """What was measured: `clips`, a row a condition and clip with its metrics and grades, and
    `sets`, a row a condition with the values of all metrics and the mean grades; `signs` has
    1 for a metric that is better when higher, −1 for one that is better when lower.
    """

    clips: pd.DataFrame
    sets: pd.DataFrame
    signs: Mapping[str, int]


def gather(
    dataset: Dataset, protocol: Protocol, conditions: Sequence[Condition], options: Options
) -> Evidence:
    """Evaluate every condition, ask the oracle about the same sounds, and put both side by side.

    Runs lie in `options.output`; what is there already is not done again.
    """
    runs = _evaluate(dataset, protocol, conditions, options)
    clips, sets = [], []
    for condition, run in zip(conditions, runs, strict=True):
        grades = _graded(dataset, condition, run, options.progress)
        table = pd.DataFrame(run.per_clip).reindex(sorted(grades))
        table = table.join(pd.DataFrame({clip: _row(g) for clip, g in grades.items()}).T)
        place = {"family": condition.family, "condition": condition.name}
        clips.append(table.rename_axis("clip").reset_index().assign(**place))
        values = {score.name: score.value for score in run.report.scores}
        sets.append(place | values | table[list(GRADES)].mean().to_dict())
    ranked = [score for score in runs[0].report.scores if score.direction != "neutral"]
    signs = {score.name: 1 if score.direction == "higher" else -1 for score in ranked}
    return Evidence(pd.concat(clips, ignore_index=True), pd.DataFrame(sets), signs)


def _evaluate(
    dataset: Dataset, protocol: Protocol, conditions: Sequence[Condition], options: Options
) -> list[Run]:
    """Those that do not sample go together, so that references are read once for all."""
    plain = [condition for condition in conditions if condition.generation is None]
    found = evaluate_models([c.spec for c in plain], dataset, protocol, options) if plain else []
    runs = dict(zip(plain, found, strict=True))
    for condition in conditions:
        if condition.generation is not None:
            own = replace(options, generation=condition.generation)
            runs[condition] = evaluate_models([condition.spec], dataset, protocol, own)[0]
    return [runs[condition] for condition in conditions]


def _graded(dataset: Dataset, condition: Condition, run: Run, progress: Progress) -> dict[str, Grade]:
    if (run.folder / "audio").is_dir():
        return grade_folder(run.folder, progress)[0]
    # A model that answers with files of the dataset has none of its own.
    model = open_model(condition.spec, ModelContext(dataset)).model
    grades = {}
    with progress("grade", len(dataset.clips)) as advance:
        for answer in model.generate([Request(clip, SECONDS, 0) for clip in dataset.clips]):
            if answer.path is not None:
                grades[answer.clip_id] = grade(answer_to(answer.clip_id), read_audio(answer.path))
            advance(1)
    return grades


def _row(graded: Grade) -> dict[str, float]:
    values = (graded.f1, float(graded.right_material), graded.level, graded.overall)
    return dict(zip(GRADES, values, strict=True))
