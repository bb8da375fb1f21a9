"""Training by name: what `v2abench impacts train NAME` runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.files import write_error
from v2abench.impacts.training import embedding, sync, tagger
from v2abench.impacts.training.loop import Recipe
from v2abench.impacts.training_data import training_data
from v2abench.progress import Progress, silent

TRAININGS: dict[str, tuple[Callable[..., dict[str, Any]], Recipe]] = {
    "tagger": (tagger.train_tagger, tagger.RECIPE),
    "embedding": (embedding.train_embedding, embedding.RECIPE),
    "sync": (sync.train_sync, sync.RECIPE),
}
TINY_FLOW = "tiny-flow"
NAMES = (*TRAININGS, TINY_FLOW)


@dataclass(frozen=True)
class Chosen:
    """What a user chose of a training; `steps` None is the recipe's own number.

    `clips` of the training split are seen, and `held_out` of the test split judged.
    """

    seed: int = 0
    steps: int | None = None
    clips: int = 4000
    held_out: int = 512


def train(
    name: str, output: Path, chosen: Chosen | None = None, progress: Progress = silent
) -> dict[str, Any]:
    """Train the network `name` into the folder `output` and return its card.

    Writes `<name>.safetensors` and `<name>.json`, and keeps a checkpoint in `<name>/` while
    it runs; tiny-flow has a folder of its own, `tiny-flow/`. A run that was killed goes on
    where it stopped. Raises `UnknownNameError`, and `V2ABenchError` for too few clips and a
    folder that cannot be written.
    """
    chosen = chosen or Chosen()
    if name not in NAMES:
        raise UnknownNameError("network of impacts", name, NAMES)
    try:
        output.mkdir(parents=True, exist_ok=True)
        if name == TINY_FLOW:
            return _train_tiny_flow(output / name, chosen, progress)
        return _train_network(name, output / name, chosen, progress)
    except OSError as error:
        raise write_error(output, error) from error


def _train_network(name: str, folder: Path, chosen: Chosen, progress: Progress) -> dict[str, Any]:
    run, recipe = TRAININGS[name]
    recipe = replace(recipe, seed=chosen.seed, steps=chosen.steps or recipe.steps)
    _refuse_too_few(name, chosen.clips, recipe.batch)
    data = training_data("train", chosen.clips, progress=progress)
    held_out = training_data("test", chosen.held_out, progress=progress)
    return run(data, held_out, folder, recipe, progress)


def _train_tiny_flow(folder: Path, chosen: Chosen, progress: Progress) -> dict[str, Any]:
    from v2abench.baselines.tiny_flow.training import Recipe as FlowRecipe  # noqa: PLC0415 (one model's code)
    from v2abench.baselines.tiny_flow.training import train as train_flow  # noqa: PLC0415

    recipe = FlowRecipe(seed=chosen.seed, clips=chosen.clips)
    if chosen.steps is not None:
        video, flow = (replace(stage, steps=chosen.steps) for stage in (recipe.video, recipe.flow))
        recipe = replace(recipe, video=video, flow=flow)
    _refuse_too_few(TINY_FLOW, chosen.clips, max(recipe.video.batch, recipe.flow.batch))
    weights = train_flow(folder, recipe, progress)
    card: dict[str, Any] = json.loads((weights.parent / "card.json").read_text(encoding="utf-8"))
    return card


def _refuse_too_few(name: str, clips: int, batch: int) -> None:
    if clips < batch:
        raise V2ABenchError(f"--clips {clips}: a batch of {name} has {batch} clips; use at least as many")
