"""`v2abench finetune`."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2abench.cli import options as shared
from v2abench.cli.consoles import messages, results, show_progress
from v2abench.errors import UnavailableError, V2ABenchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from v2abench.finetune.recipe import TrainingRecipe
    from v2abench.finetune.running import Place

app = typer.Typer(help="Align a flow model: Flow-DPO, DDPO, GRPO.", no_args_is_help=True)

NEEDED = ("accelerate", "peft", "tensorboard", "matplotlib")

Model = Annotated[
    str | None,
    typer.Option("--model", help="A flow model, as for `eval`. Default: the recipe's.", metavar="SPEC"),
]
Recipe = Annotated[
    str, typer.Option("--recipe", help="A recipe's name, or a YAML file.", metavar="NAME|FILE")
]
Reward = Annotated[
    str | None,
    typer.Option(
        "--reward",
        help="audioscore[:NAME|FILE], a metric of the protocol, or MODULE:FUNCTION.",
        metavar="SPEC",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", help="Folder of the aligned model. Default: runs/RECIPE.", metavar="DIR"),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Override the recipe, as in beta=100 or lora.rank=8. Repeatable.", metavar="NAME=VALUE"
    ),
]
MaxSteps = Annotated[int | None, typer.Option("--max-steps", min=1, help="Optimiser steps.")]
LearningRate = Annotated[float | None, typer.Option("--learning-rate", help="After warm-up.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Of every draw in training.")]
LoRARank = Annotated[
    int | None, typer.Option("--lora-rank", min=0, help="Train adapters of this rank; 0: all weights.")
]
Name = Annotated[str | None, typer.Option("--name", help="What the aligned model is called in tables.")]
Board = Annotated[bool, typer.Option("--board/--no-board", help="Compare base and aligned model at the end.")]
Device = Annotated[
    str,
    typer.Option(
        "--device", help="auto, cpu, cuda or mps; single GPUs by CUDA_VISIBLE_DEVICES or accelerate."
    ),
]


@app.command()
def dpo(
    model: Model = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            "--pairs",
            help="Of `v2abench prefs pair`. Without: the recipe's own way of sampling, scoring and pairing.",
            metavar="FILE",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help="A recipe's name, or a YAML file. Default: impacts-dpo for tiny-flow, v2a-dpo-frieren for "
            "frieren and v2a-dpo for all others, also for models that were aligned from them.",
            metavar="NAME|FILE",
        ),
    ] = None,
    output: Output = None,
    beta: Annotated[
        float | None, typer.Option("--beta", help="Strength of the tie to the reference.")
    ] = None,
    max_steps: MaxSteps = None,
    learning_rate: LearningRate = None,
    seed: Seed = None,
    lora_rank: LoRARank = None,
    overrides: Set = None,
    name: Name = None,
    board: Board = True,
    workers: shared.Workers = None,
    device: Device = "auto",
    offline: shared.Offline = False,
) -> None:
    """Train on preference pairs (Flow-DPO with curriculum)."""
    _require_extra()
    from v2abench.finetune.recipe import DPORecipe, default_recipe, load_recipe
    from v2abench.finetune.running import finetune_dpo

    spec = recipe or default_recipe(model or "tiny-flow")
    options = {"beta": beta, "max_steps": max_steps, "learning_rate": learning_rate, "seed": seed}
    chosen = load_recipe(DPORecipe, spec, _overrides(options, lora_rank, overrides))
    place = _place(chosen, output, device, workers, offline=offline, name=name)
    spec = _model(model, chosen)
    folder = finetune_dpo(spec, pairs, chosen, place)
    _end(spec, folder, chosen, place, board=board)


@app.command()
def ddpo(
    model: Model = None,
    recipe: Recipe = "impacts-ddpo",
    protocol: shared.GradingProtocol = None,
    reward: Reward = None,
    output: Output = None,
    max_steps: MaxSteps = None,
    learning_rate: LearningRate = None,
    seed: Seed = None,
    lora_rank: LoRARank = None,
    overrides: Set = None,
    name: Name = None,
    board: Board = True,
    workers: shared.Workers = None,
    device: Device = "auto",
    offline: shared.Offline = False,
) -> None:
    """Train on rewards of own samples, statistics by video (DDPO, stock or fair)."""
    options = {"reward": reward, "max_steps": max_steps, "learning_rate": learning_rate, "seed": seed}
    said = _overrides(options, lora_rank, overrides)
    _online(model, recipe, protocol, said, output, name, board, workers, device, offline)


@app.command()
def grpo(
    model: Model = None,
    recipe: Recipe = "impacts-grpo",
    protocol: shared.GradingProtocol = None,
    reward: Reward = None,
    output: Output = None,
    max_steps: MaxSteps = None,
    learning_rate: LearningRate = None,
    seed: Seed = None,
    lora_rank: LoRARank = None,
    overrides: Set = None,
    name: Name = None,
    board: Board = True,
    workers: shared.Workers = None,
    device: Device = "auto",
    offline: shared.Offline = False,
) -> None:
    """Train on rewards of own samples, against the others of the same video (GRPO)."""
    options = {"reward": reward, "max_steps": max_steps, "learning_rate": learning_rate, "seed": seed}
    said = _overrides(options, lora_rank, overrides)
    _online(model, recipe, protocol, said, output, name, board, workers, device, offline)


@app.command()
def merge(
    folder: Annotated[Path, typer.Argument(help="An aligned model.")],
    output: Annotated[Path, typer.Option("--output", help="Folder for the whole weights.", metavar="DIR")],
    offline: shared.Offline = False,
) -> None:
    """Fold an adapter into whole weights, which open without PEFT."""
    _require_extra()
    from v2abench.clips import Dataset
    from v2abench.finetune.aligned import merge as merge_model
    from v2abench.models import ModelContext

    merge_model(folder, output, ModelContext(Dataset("none", "none", ()), offline=offline))
    messages.print(f"wrote {output}", markup=False, highlight=False, soft_wrap=True)


@app.command("recipes")
def list_recipes() -> None:
    """List the recipes in the package."""
    from rich.table import Table

    from v2abench.finetune.recipe import recipe_names, recipe_text

    table = Table("recipe", "what it is")
    for recipe in recipe_names():
        table.add_row(recipe, str(recipe_text(recipe)["summary"]))
    results.print(table)


def _online(
    model: str | None,
    recipe: str,
    protocol: str | None,
    overrides: list[str],
    output: Path | None,
    name: str | None,
    board: bool,
    workers: int | None,
    device: str,
    offline: bool,
) -> None:
    _require_extra()
    from v2abench.finetune.recipe import PolicyGradientRecipe, load_recipe
    from v2abench.finetune.running import finetune_online

    chosen = load_recipe(PolicyGradientRecipe, recipe, overrides)
    place = _place(chosen, output, device, workers, offline=offline, name=name)
    spec = _model(model, chosen)
    folder = finetune_online(spec, chosen, place, protocol)
    _end(spec, folder, chosen, place, board=board)


def _require_extra() -> None:
    lacking = [package for package in NEEDED if find_spec(package) is None]
    if lacking:
        raise UnavailableError(
            f"finetune needs {', '.join(lacking)}, which are not installed; "
            "run `pip install v2abench[finetune]`"
        )


def _overrides(options: "Mapping[str, object]", lora_rank: int | None, said: list[str] | None) -> list[str]:
    """Return all overrides as NAME=VALUE; what --set says comes last."""
    given = [f"{name}={value}" for name, value in options.items() if value is not None]
    if lora_rank is not None:
        given += [f"lora.rank={lora_rank}", f"lora.alpha={lora_rank}"] if lora_rank else ["lora=null"]
    return [*given, *(said or [])]


def _model(model: str | None, recipe: "TrainingRecipe") -> str:
    spec = model or recipe.model
    if spec is None:
        raise V2ABenchError(f"recipe {recipe.name} names no model; give --model SPEC")
    return spec


def _place(
    recipe: "TrainingRecipe",
    output: Path | None,
    device: str,
    workers: int | None,
    *,
    offline: bool,
    name: str | None,
) -> "Place":
    from v2abench.finetune.running import Place

    folder = output or Path("runs") / recipe.name
    return Place(folder, device, shared.default_workers(workers), offline, name, show_progress)


def _end(model: str, folder: Path, recipe: "TrainingRecipe", place: "Place", *, board: bool) -> None:
    """Say where the model is, and compare it with its base; only the first process does."""
    import os

    if int(os.environ.get("RANK", "0")) != 0:
        return
    messages.print(
        f"wrote {folder}; `--model {folder}` takes it", markup=False, highlight=False, soft_wrap=True
    )
    if not board or recipe.board is None:
        return
    from v2abench.api import Options, evaluate_models
    from v2abench.cli.display import show_board
    from v2abench.datasets.opening import DatasetOptions, open_dataset
    from v2abench.models import GenerationOptions

    scale = recipe.guidance_scale if recipe.method == "dpo" else None
    options = DatasetOptions(limit=recipe.board.limit, workers=place.workers, progress=show_progress)
    runs = evaluate_models(
        [model, str(folder)],
        open_dataset(recipe.board.dataset, options),
        recipe.board.protocol,
        Options(
            output=folder / "board",
            device=place.device,
            workers=place.workers,
            offline=place.offline,
            overwrite=True,
            progress=show_progress,
            generation=GenerationOptions(guidance_scale=scale),
        ),
    )
    show_board([run.report for run in runs], results)
