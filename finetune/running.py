"""From a recipe and a model's name to an aligned model in a folder: what `v2abench finetune` does."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from accelerate import Accelerator

from v2abench.api import pick_device
from v2abench.clips import Dataset
from v2abench.datasets.opening import DatasetOptions, open_dataset
from v2abench.errors import UnavailableError, V2ABenchError
from v2abench.features.extraction import Extractor
from v2abench.files import content_hash, write_text
from v2abench.finetune.aligned import save_aligned
from v2abench.finetune.dpo import DPORun, start_dpo
from v2abench.finetune.online import OnlineRun, start_online
from v2abench.finetune.pair_data import clip_of, prepare_pairs
from v2abench.finetune.panel import GenerationPanel, make_panel
from v2abench.finetune.preferences.pairs import PairSet, read_pairs
from v2abench.finetune.preferences.scoring import components_of, open_grader, protocol_of
from v2abench.finetune.recipe import DPORecipe, PolicyGradientRecipe, PreferencesPart, TrainingRecipe, saved
from v2abench.finetune.rewards import named_audioscore, open_reward
from v2abench.flow import FlowModel
from v2abench.home import home
from v2abench.metrics.audioscore_classifier import Classifier
from v2abench.metrics.audioscore_components import Component
from v2abench.models import ALIGNED_CARD, GenerationOptions, ModelContext, NamedModel, open_model
from v2abench.progress import Progress, silent
from v2abench.protocols.schema import Protocol, Window, load_protocol

_log = logging.getLogger(__name__)

Run = TypeVar("Run", DPORun, OnlineRun)

_NOT_OF_THE_TRAINING = {
    "name",
    "summary",
    "logging_steps",
    "save_steps",
    "save_total_limit",
    "eval_steps",
    "panel",
    "board",
    "preferences",
    "guidance_scale",
}
"""Parts of a recipe that may change when a training goes on."""


@dataclass(frozen=True)
class Place:
    """Where a training runs and writes; `name` is what the aligned model will be called."""

    folder: Path
    device: str = "auto"
    workers: int = 0
    offline: bool = False
    name: str | None = None
    progress: Progress = silent


def finetune_dpo(model: str, pairs: Path | None, recipe: DPORecipe, place: Place) -> Path:
    """Train `model` on `pairs`, or on pairs of its own that the recipe says how to make; return the folder.

    A training that was stopped goes on. Raises `V2ABenchError` for anything the caller can mend.
    """
    accelerator = _accelerator(recipe, place)
    with accelerator.main_process_first():
        file = pairs or make_pairs(model, _preferences(recipe), place, accelerator)
        read = read_pairs(file)
    seconds = _seconds(read)
    dataset = Dataset("pairs", str(file), tuple({clip.id: clip for clip in map(clip_of, read)}.values()))
    named = _open(model, dataset, seconds, recipe, place=place, accelerator=accelerator)
    flow = _flow(named)
    _warn_of_other_samples(read, named)
    fingerprint = _fingerprint(recipe, named, content_hash(file), seconds)
    with accelerator.main_process_first():
        data = prepare_pairs(
            flow,
            read,
            place.folder / "prepared",
            seconds=seconds,
            fingerprint=_of_model(named, seconds),
            progress=place.progress,
        )
    run = start_dpo(
        flow,
        data,
        recipe,
        place.folder,
        accelerator=accelerator,
        fingerprint=fingerprint,
        panel=_panel(recipe, flow, place, accelerator),
        progress=place.progress,
    )
    about = {
        "pairs": {"file": str(file.resolve()), "hash": content_hash(file), "card": dict(read.card)},
        "used_pairs": len(run.data),
        "held_out_pairs": len(run.held_out),
        "left_out": dict(data.left_out),
        "stage_ends": list(run.schedule.ends),
    }
    return _train(run, named, recipe, place, about)


def finetune_online(
    model: str,
    recipe: PolicyGradientRecipe,
    place: Place,
    protocol: str | None = None,
) -> Path:
    """Train `model` on the rewards of its own samples; return the folder. Else as `finetune_dpo`.

    Without a name the protocol is that of the AudioScore that the recipe's `reward` names; where it names
    none, `impacts` for the clips of impacts, else `mmaudio`.
    """
    accelerator = _accelerator(recipe, place)
    options = DatasetOptions(limit=recipe.clips, workers=place.workers, progress=place.progress)
    with accelerator.main_process_first():
        dataset = open_dataset(recipe.dataset, options)
    graded = protocol_of(protocol, dataset.clips, named_audioscore(recipe.reward))
    seconds = graded.window.seconds
    named = _open(model, dataset, seconds, recipe, place=place, accelerator=accelerator)
    flow = _flow(named)
    reward = open_reward(
        recipe.reward,
        recipe.reward_transform,
        graded,
        place.folder / "reward",
        device=str(accelerator.device),
        workers=place.workers,
        offline=place.offline,
    )
    under = f"{graded.name}:{graded.version}@{graded.fingerprint}"
    clips = json.dumps([under, *([clip.id, str(clip.video), clip.prompt] for clip in dataset.clips)])
    run = start_online(
        flow,
        dataset.clips,
        reward,
        recipe,
        place.folder,
        seconds=seconds,
        accelerator=accelerator,
        fingerprint=_fingerprint(recipe, named, clips, seconds),
        panel=_panel(recipe, flow, place, accelerator),
        progress=place.progress,
    )
    about = {"protocol": under, "used_clips": len(run.clips), "advantages": _told_advantages(recipe)}
    return _train(run, named, recipe, place, about)


def make_pairs(model: str, part: PreferencesPart, place: Place, accelerator: Accelerator) -> Path:
    """Sample, score and pair, each resumably, in the training's folder; return the pairs file.

    Raises `V2ABenchError` where the folder has pairs that were made in another way.
    """
    from v2abench.finetune.preferences import sampling  # noqa: PLC0415 (needed only without given pairs)
    from v2abench.finetune.preferences.building import pair_folders  # noqa: PLC0415
    from v2abench.finetune.preferences.rules import RuleOptions  # noqa: PLC0415
    from v2abench.finetune.preferences.samples import read_samples  # noqa: PLC0415
    from v2abench.finetune.preferences.scoring import SCORES, score_folder  # noqa: PLC0415

    file, folder = place.folder / "pairs.parquet", place.folder / "samples"
    if not accelerator.is_main_process:
        return file
    record = place.folder / "preferences.json"
    wanted = json.dumps(part.model_dump(mode="json"), indent=2) + "\n"
    _require_same_preferences(record, wanted)
    if file.is_file():
        return file
    protocol = load_protocol(part.protocol)
    extractor = _extractor(protocol.window.seconds, place, accelerator)
    options = DatasetOptions(limit=part.clips, workers=place.workers, progress=place.progress)
    dataset = open_dataset(part.dataset, options)
    context = ModelContext(
        dataset,
        str(accelerator.device),
        extractor,
        place.offline,
        place.progress,
        GenerationOptions(guidance_scale=part.guidance_scale),
    )
    chosen = sampling.SamplingOptions(part.samples, 0, 16, str(accelerator.device), place.progress)
    named = open_model(model, context)
    write_text(record, wanted)
    sampling.sample(named, dataset, folder, extractor, chosen)
    classifier, components = _grader(protocol)
    if not (folder / SCORES).is_file():
        score_folder(
            read_samples(folder),
            protocol,
            extractor,
            classifier=classifier,
            components=components,
            offline=place.offline,
        )
    pair_folders([folder], part.rule if classifier else "best_worst", RuleOptions(), file)
    return file


def _require_same_preferences(record: Path, wanted: str) -> None:
    """Refuse samples or pairs that were made in another way than `wanted`."""
    if record.is_file() and record.read_text(encoding="utf-8") != wanted:
        raise V2ABenchError(
            f"{record.parent} has pairs that were made in another way ({record.name} says how, and the "
            "recipe's `preferences` differ); give another --output, or remove the folder"
        )


def _grader(protocol: Protocol) -> tuple[Classifier | None, tuple[Component, ...]]:
    """Return the protocol's fitted AudioScore, or what there is without one, with a warning."""
    try:
        return open_grader(protocol, None, None)
    except UnavailableError as error:
        _log.warning(
            "%s. Until then samples are ordered by the uncalibrated composite, best against worst, and "
            "every pair counts as a hard one",
            error,
        )
        return None, components_of(protocol)


def _train(
    run: Run, named: NamedModel, recipe: TrainingRecipe, place: Place, about: Mapping[str, Any]
) -> Path:
    trainer = run.trainer
    if trainer.is_main:
        write_text(place.folder / "recipe.yaml", saved(recipe))
    began, first = time.perf_counter(), trainer.step
    run.train(place.progress)
    if trainer.is_main:
        card = {
            "name": place.name or f"{named.info.name}-{recipe.method}",
            "base": {"spec": _absolute(named.spec), "recipe": dict(named.model.recipe)},
            "method": recipe.method,
            "guidance_scale": _own_guidance(recipe),
            "recipe": recipe.model_dump(mode="json"),
            "steps": trainer.step,
            "trained_parameters": sum(p.numel() for p in trainer.parameters.values()),
            "convention": run.convention.record(),
            "generator_forwards": run.forwards(),
            "processes": trainer.accelerator.num_processes,
            "environment": _environment(trainer.accelerator),
            "seconds_of_this_call": round(time.perf_counter() - began, 1),
            "steps_of_this_call": trainer.step - first,
            **about,
        }
        save_aligned(place.folder, run.pair, trainer.weights(), trainer.raw_weights(), card)
    trainer.accelerator.wait_for_everyone()
    return place.folder


def _accelerator(recipe: TrainingRecipe, place: Place) -> Accelerator:
    if place.device not in {"auto", "cpu", "cuda", "mps"}:
        raise V2ABenchError(
            f"--device {place.device}: give auto, cpu, cuda or mps; single GPUs are chosen with "
            "CUDA_VISIBLE_DEVICES or `accelerate launch`"
        )
    pick_device(place.device)
    return Accelerator(cpu=place.device == "cpu", mixed_precision="bf16" if recipe.bf16 else "no")


def _open(
    model: str,
    dataset: Dataset,
    seconds: float,
    recipe: TrainingRecipe,
    *,
    place: Place,
    accelerator: Accelerator,
) -> NamedModel:
    """Return the model, which samples for the panel as the aligned one will."""
    context = ModelContext(
        dataset,
        str(accelerator.device),
        _extractor(seconds, place, accelerator),
        place.offline,
        place.progress,
        GenerationOptions(
            precision="bfloat16" if recipe.bf16 else "float32", guidance_scale=_own_guidance(recipe)
        ),
    )
    return open_model(model, context)


def _extractor(seconds: float, place: Place, accelerator: Accelerator) -> Extractor:
    return Extractor(
        home() / "features",
        Window(seconds=seconds),
        device=str(accelerator.device),
        workers=place.workers,
        progress=place.progress,
    )


def _flow(named: NamedModel) -> FlowModel:
    lacking = [name for name in ("network", "embed", "velocity") if not hasattr(named.model, name)]
    if lacking:
        raise V2ABenchError(
            f"--model {named.spec} cannot be aligned: it gives no {', '.join(lacking)}; name a flow model, "
            "such as tiny-flow or mmaudio-large-44k"
        )
    return cast(FlowModel, named.model)


def _panel(
    recipe: TrainingRecipe, flow: FlowModel, place: Place, accelerator: Accelerator
) -> GenerationPanel | None:
    if recipe.panel is None:
        return None
    return make_panel(
        recipe.panel,
        flow,
        place.folder,
        device=str(accelerator.device),
        workers=place.workers,
        progress=place.progress,
    )


def _own_guidance(recipe: TrainingRecipe) -> float | None:
    """The guidance of the aligned model; in a policy gradient's recipe it is that of the rollouts."""
    return recipe.guidance_scale if recipe.method == "dpo" else None


def _preferences(recipe: DPORecipe) -> PreferencesPart:
    if recipe.preferences is None:
        raise V2ABenchError(
            f"recipe {recipe.name} does not say how to make pairs; give --pairs FILE (`v2abench prefs` makes "
            "them), or --set preferences.dataset=... and the like"
        )
    return recipe.preferences


def _sample_cards(pairs: PairSet) -> list[Mapping[str, Any]]:
    folders = dict.fromkeys(pair.samples for pair in pairs)
    cards = []
    for folder in folders:
        path = pairs.folder / folder / "card.json"
        if not path.is_file():
            raise V2ABenchError(f"{path} is missing: the pairs' sample folder must lie where the pairs say")
        cards.append(json.loads(path.read_text(encoding="utf-8")))
    return cards


def _seconds(pairs: PairSet) -> float:
    """How long the samples are: the longest, where there are several lengths."""
    return max(float(seconds) for card in _sample_cards(pairs) for seconds in card["seconds"])


def _warn_of_other_samples(pairs: PairSet, named: NamedModel) -> None:
    own = _weights(named.model.recipe)
    for card in _sample_cards(pairs):
        if _weights(card["model"]["recipe"]) != own:
            _log.warning(
                "the pairs are samples of %s with other weights than %s: a model learns best from its own "
                "samples",
                card["model"]["spec"],
                named.spec,
            )


def _weights(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in recipe.items() if key.startswith(("weights", "aligned"))}


def _fingerprint(recipe: TrainingRecipe, named: NamedModel, data: str, seconds: float) -> str:
    kept = recipe.model_dump(mode="json", exclude=_NOT_OF_THE_TRAINING)
    whole = json.dumps([kept, _of_model(named, seconds), data], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def _of_model(named: NamedModel, seconds: float) -> str:
    whole = json.dumps([_weights(named.model.recipe), seconds], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def _told_advantages(recipe: PolicyGradientRecipe) -> str:
    if recipe.scale_rewards == "stock":
        return "stock: running statistics a video, of the whole rollout where a video has too few samples"
    return f"{recipe.scale_rewards}: {recipe.num_generations} samples of each video"


def _absolute(spec: str) -> str:
    """Return a spec that holds in any folder: an aligned model's is a path."""
    return str(Path(spec).resolve()) if (Path(spec) / ALIGNED_CARD).is_file() else spec


def _environment(accelerator: Accelerator) -> dict[str, str]:
    device = accelerator.device
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return {
        "device": str(device),
        "hardware": named,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
