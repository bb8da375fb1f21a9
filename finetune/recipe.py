"""What a recipe file says of a training, validated when it is read.

Names follow TRL where it has them. A recipe is data: one of the package's (`v2a-dpo`), or a YAML
file. Single values are overridden by `name=value`; what comes out is saved with the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from v2abench.baselines.aligned import read_card
from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.models import ALIGNED_CARD, split_label
from v2abench.yamls import parse_yaml, read_text

RECIPES = "v2abench.finetune.recipes"

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LoRAPart(_Strict):
    """Low-rank adapters; `target_modules` is a regular expression over module paths (null: all linear)."""

    rank: Positive = 16
    alpha: Positive = 16
    target_modules: str | None = None


class PanelPart(_Strict):
    """Held-out generation: which metrics of which protocol on which clips, none of them the reward."""

    dataset: str
    limit: Positive
    protocol: str
    metrics: tuple[str, ...] = Field(min_length=1)


class PreferencesPart(_Strict):
    """How pairs are made where none are given: `samples` of each of `clips`, scored, paired by `rule`.

    `guidance_scale` is that of sampling (null: the model's own): best the one that the aligned model is
    to be used with, since what is wrong with samples depends on it.
    """

    dataset: str
    clips: Positive
    samples: Annotated[int, Field(ge=2)] = 5
    protocol: str
    rule: Literal["extremes", "margin", "best_worst", "random"] = "extremes"
    guidance_scale: Weight | None = None


class BoardPart(_Strict):
    """On what base and aligned model are compared when training is over."""

    dataset: str
    limit: Positive
    protocol: str


class TrainingRecipe(_Strict):
    """What every method has. Steps are optimiser steps, batch sizes count pairs (DPO) or samples."""

    name: str = Field(pattern=r"^[\w.-]+$")
    summary: str
    method: str
    model: str | None = None
    learning_rate: Rate = 5e-6
    warmup_steps: Annotated[int, Field(ge=0)] = 1000
    max_steps: Positive = 12000
    weight_decay: Weight = 0.0
    max_grad_norm: Rate = 1.0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    bf16: bool = False
    gradient_checkpointing: bool = False
    lora: LoRAPart | None = None
    seed: int = 0
    logging_steps: Positive = 10
    eval_steps: Positive = 500
    save_steps: Positive = 500
    save_total_limit: Positive = 2
    guidance_scale: Weight | None = None
    panel: PanelPart | None = None
    board: BoardPart | None = None


class DPORecipe(TrainingRecipe):
    """Flow-DPO. `guidance_scale` is that of the aligned model's sampling (null: its base's own)."""

    method: Literal["dpo"] = "dpo"
    per_device_train_batch_size: Positive = 8
    gradient_accumulation_steps: Positive = 1
    beta: Rate = 600.0
    loss_type: Literal["sigmoid", "hinge", "ipo", "sft"] = "sigmoid"
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    reduction: Literal["mean", "sum"] = "mean"
    loser_weight: Weight = 1.0
    sft_weight: Weight = 0.0
    norm_guard: Weight = 0.0
    beta_schedule: Literal["constant", "quadratic"] = "constant"
    noise: Literal["shared", "independent", "tracked"] = "shared"
    t_sampling: Literal["uniform", "stratified_uniform", "logit_normal"] = "uniform"
    t_mean: float = 0.0
    t_spread: Rate = 1.0
    training_guidance_scale: Weight = 0.0
    precompute_ref: Annotated[int, Field(ge=0)] = 0
    curriculum_thresholds: tuple[float, ...] = (0.7,)
    curriculum_mode: Literal["replace", "cumulative"] = "replace"
    stage_steps: Literal["proportional"] | tuple[int, ...] = "proportional"
    stage_replay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    held_out_pairs: Annotated[int, Field(ge=0)] = 256
    preferences: PreferencesPart | None = None

    @model_validator(mode="after")
    def _fits(self) -> DPORecipe:
        if self.precompute_ref and self.norm_guard:
            raise ValueError(
                "norm_guard needs the reference's velocities, which precompute_ref does not keep"
            )
        if self.precompute_ref and self.noise == "tracked":
            raise ValueError("precompute_ref keeps errors at noises of its own; noise: tracked has others")
        return self


class PolicyGradientRecipe(TrainingRecipe):
    """DDPO and GRPO. `guidance_scale` is that of the rollouts (null: 0, no guidance)."""

    method: Literal["ddpo", "grpo"]
    dataset: str
    clips: Positive
    reward: str = "audioscore"
    reward_transform: Literal["p_good", "logit", "difference"] = "p_good"
    num_generations: Annotated[int, Field(ge=1)] = 8
    videos_per_rollout: Positive = 8
    num_iterations: Positive = 2
    per_device_train_batch_size: Positive = 8
    scale_rewards: Literal["stock", "fair", "group", "global", "batch", "dance"] = "fair"
    buffer_size: Positive = 32
    min_count: Positive = 16
    sde: Literal["flow", "dance", "cps"] = "flow"
    noise_level: Rate = 0.7
    num_rollout_steps: Annotated[int, Field(ge=2)] = 10
    trained_steps: Annotated[int, Field(ge=0)] = 0
    epsilon: Rate = 1e-4
    epsilon_high: Rate | None = None
    adv_clip_max: Rate = 5.0
    ratio_norm: bool = False
    beta: Weight = 0.0
    kl: Literal["exact", "flow_grpo", "velocity"] = "exact"

    @model_validator(mode="after")
    def _fits(self) -> PolicyGradientRecipe:
        if self.scale_rewards != "stock" and self.num_generations < 2:
            raise ValueError(
                f"scale_rewards: {self.scale_rewards} compares samples of one video: num_generations must be "
                "2 or more"
            )
        if self.trained_steps >= self.num_rollout_steps:
            raise ValueError("trained_steps must be below num_rollout_steps: the last step is not trained")
        if self.max_steps % self.num_iterations or self.save_steps % self.num_iterations:
            raise ValueError(
                "max_steps and save_steps must be multiples of num_iterations: a rollout is trained on whole"
            )
        return self


Recipe = TypeVar("Recipe", bound=TrainingRecipe)


def recipe_names() -> list[str]:
    """Return the names of the recipes in the package, sorted."""
    return sorted(f.name.removesuffix(".yaml") for f in files(RECIPES).iterdir() if f.name.endswith(".yaml"))


def default_recipe(model: str) -> str:
    """Return the name of the DPO recipe for a model's spec; for an aligned model, that of its base."""
    _, base = split_label(model)
    while (Path(base.removeprefix("aligned:")) / ALIGNED_CARD).is_file():
        base = str(read_card(Path(base.removeprefix("aligned:")))["base"]["spec"])
    families = {"tiny-flow": "impacts-dpo", "frieren": "v2a-dpo-frieren"}
    return next((recipe for name, recipe in families.items() if base.startswith(name)), "v2a-dpo")


def load_recipe(kind: type[Recipe], spec: str, overrides: Sequence[str] = ()) -> Recipe:
    """Return the recipe of that name or YAML file with `name=value` overrides (`lora.rank=8`, `lora=null`).

    Raises `UnknownNameError`, or `V2ABenchError` naming file or override, field and cause.
    """
    said = recipe_text(spec)
    for override in overrides:
        _override(said, override)
    try:
        return kind.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the recipe"
        raise V2ABenchError(f"recipe {spec}, {place}: {first['msg']}") from error


def recipe_text(spec: str) -> dict[str, Any]:
    """Return what the recipe of that name or YAML file says, not yet validated; raises as `load_recipe`."""
    if spec.endswith((".yaml", ".yml")):
        path = Path(spec)
        if not path.is_file():
            raise V2ABenchError(f"--recipe {spec}: no such file; known are {', '.join(recipe_names())}")
        text = read_text(path, spec)
    elif spec in recipe_names():
        text = files(RECIPES).joinpath(f"{spec}.yaml").read_text(encoding="utf-8")
    else:
        raise UnknownNameError("recipe", spec, recipe_names())
    said = parse_yaml(text, spec)
    if not isinstance(said, dict):
        raise V2ABenchError(f"--recipe {spec} must hold names and values")
    return said


def _override(said: dict[str, Any], override: str) -> None:
    name, equals, value = override.partition("=")
    if not equals or not name:
        raise V2ABenchError(f"--set {override}: write NAME=VALUE, as in beta=100 or lora.rank=8")
    *parents, last = name.split(".")
    place = said
    for parent in parents:
        inner = place.get(parent)
        if not isinstance(inner, dict):
            inner = place[parent] = {}
        place = inner
    place[last] = _value(value)


def _value(text: str) -> Any:
    """Return what YAML makes of `text`; 1e-4 is a number here, which YAML 1.1 reads as a word."""
    if "e" in text.lower():
        with suppress(ValueError):
            return float(text)
    return parse_yaml(text, f"--set: {text!r}")


def saved(recipe: TrainingRecipe) -> str:
    """Return the resolved recipe as YAML."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
