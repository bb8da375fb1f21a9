"""Aligned models as folders: written, opened by their folder's name, merged, refused; the commands."""

import json
from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from v2abench.baselines.aligned import AlignedModel
from v2abench.cli.app import app
from v2abench.cli.finetune import NEEDED
from v2abench.clips import Dataset
from v2abench.contracts import Request
from v2abench.datasets.folder import open_folder
from v2abench.datasets.opening import DatasetOptions
from v2abench.errors import UnavailableError, V2ABenchError
from v2abench.files import content_hash
from v2abench.finetune.aligned import save_aligned
from v2abench.finetune.policy import LoRA, Pair, make_pair
from v2abench.finetune.preferences.pairs import Pair as PreferencePair
from v2abench.finetune.preferences.pairs import write_pairs
from v2abench.finetune.recipe import DPORecipe, default_recipe, load_recipe, recipe_names, saved
from v2abench.flow import FlowModel
from v2abench.models import GenerationOptions, ModelContext, open_model
from v2abench.sampling import noise_for, sample_latents, stack

CONTEXT = ModelContext(Dataset("none", "none", ()))
POINT = torch.randn(2, 50, 64, generator=torch.Generator().manual_seed(0))
TIMES = torch.tensor([0.3, 0.7])


def tiny_flow() -> FlowModel:
    return cast(FlowModel, open_model("tiny-flow", CONTEXT).model)


def conditions() -> dict[str, torch.Tensor]:
    words = tiny_flow().network.words.in_features  # type: ignore[union-attr]
    return {
        "frames": torch.randn(2, 50, 128, generator=torch.Generator().manual_seed(1)),
        "words": torch.zeros(2, cast(int, words)),
        "seen": torch.ones(2, 1),
    }


def shaken(lora: LoRA | None) -> tuple[FlowModel, Pair]:
    model = tiny_flow()
    pair = make_pair(model, lora)
    drawn = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in pair.policy.trainable().values():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=drawn))
    return model, pair


def write_model(folder: Path, lora: LoRA | None, **changes: object) -> torch.Tensor:
    """Write a model with changed weights; return its velocity."""
    _, pair = shaken(lora)
    base = {"spec": "tiny-flow", "recipe": dict(tiny_flow().recipe)}
    card = {"name": "tiny-flow-dpo", "base": base, "method": "dpo", "guidance_scale": 1.5, **changes}
    weights = {name: p.detach().clone() for name, p in pair.policy.trainable().items()}
    save_aligned(folder, pair, weights, weights, card)
    with torch.no_grad():
        return pair.policy(POINT, TIMES, conditions())


def velocity_of(spec: str) -> torch.Tensor:
    model = cast(FlowModel, open_model(spec, CONTEXT).model)
    with torch.no_grad():
        return model.velocity(POINT, TIMES, model.embed(conditions()))


@pytest.mark.parametrize(("lora", "bound"), [(None, 0.0), (LoRA(4), 1e-4)])
def test_a_folder_opens_as_the_model_that_was_trained(
    tmp_path: Path, lora: LoRA | None, bound: float
) -> None:
    trained = write_model(tmp_path, lora)
    torch.testing.assert_close(velocity_of(str(tmp_path)), trained, atol=bound, rtol=0)
    torch.testing.assert_close(velocity_of(f"aligned:{tmp_path}"), trained, atol=bound, rtol=0)
    torch.testing.assert_close(velocity_of(str(tmp_path / "raw")), trained, atol=bound, rtol=0)
    assert not torch.allclose(velocity_of("tiny-flow"), trained, atol=1e-2)


def test_it_has_a_name_a_recipe_and_guidance_of_its_own(tmp_path: Path) -> None:
    write_model(tmp_path, None)
    named = open_model(str(tmp_path), CONTEXT)
    assert isinstance(named.model, AlignedModel)
    assert named.info.name == "tiny-flow-dpo"
    assert named.info.source == "tiny-flow aligned by dpo"
    assert open_model(f"mine={tmp_path}", CONTEXT).info.name == "mine"
    assert named.model.sampling.guidance_scale == 1.5
    assert named.model.recipe != tiny_flow().recipe
    chosen = ModelContext(Dataset("none", "none", ()), options=GenerationOptions(guidance_scale=3.0))
    assert cast(FlowModel, open_model(str(tmp_path), chosen).model).sampling.guidance_scale == 3.0


def test_a_merged_adapter_opens_without_peft(tmp_path: Path) -> None:
    trained = write_model(tmp_path / "adapter", LoRA(4))
    arguments = ["finetune", "merge", str(tmp_path / "adapter"), "--output", str(tmp_path / "whole")]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert not (tmp_path / "whole/adapter").exists()
    torch.testing.assert_close(velocity_of(str(tmp_path / "whole")), trained, atol=1e-4, rtol=0)
    with pytest.raises(V2ABenchError, match="not empty"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_other_weights_of_the_base_are_refused(tmp_path: Path) -> None:
    write_model(tmp_path, None, base={"spec": "tiny-flow", "recipe": {"weights_sha256": "another"}})
    with pytest.raises(V2ABenchError, match="other weights of tiny-flow"):
        open_model(str(tmp_path), CONTEXT)


def test_folders_that_are_no_aligned_model_are_told(tmp_path: Path) -> None:
    with pytest.raises(V2ABenchError, match=r"has no aligned\.json"):
        open_model(f"aligned:{tmp_path}", CONTEXT)
    (tmp_path / "aligned.json").write_text("{}")
    with pytest.raises(V2ABenchError, match="is not a card"):
        open_model(str(tmp_path), CONTEXT)
    write_model(tmp_path, None)
    save_file({"x": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(V2ABenchError, match="does not fit"):
        open_model(str(tmp_path), CONTEXT)


def test_without_the_extra_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("v2abench.cli.finetune.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=r"pip install v2abench\[finetune\]"):
        CliRunner().invoke(app, ["finetune", "dpo"], catch_exceptions=False)
    assert "peft" in NEEDED


def test_the_papers_recipe_has_the_papers_numbers() -> None:
    recipe = load_recipe(DPORecipe, "v2a-dpo")
    assert (recipe.beta, recipe.learning_rate, recipe.warmup_steps, recipe.max_steps) == (
        600,
        5e-6,
        1000,
        12000,
    )
    assert (recipe.noise, recipe.t_sampling, recipe.reduction) == ("shared", "uniform", "mean")
    assert recipe.curriculum_thresholds == (0.7,)
    assert recipe.model == "mmaudio-large-44k"
    assert load_recipe(DPORecipe, "v2a-dpo-frieren").model == "frieren"


def test_the_default_recipe_is_that_of_the_family_also_of_an_aligned_model(tmp_path: Path) -> None:
    write_model(tmp_path / "once", None)
    found = {
        spec: default_recipe(spec)
        for spec in ("tiny-flow", "mine=tiny-flow:x", "frieren-distilled", "mmaudio-large-44k")
    }
    assert list(found.values()) == ["impacts-dpo", "impacts-dpo", "v2a-dpo-frieren", "v2a-dpo"]
    assert set(found.values()) <= set(recipe_names())
    for spec in (f"{tmp_path / 'once'}", f"aligned:{tmp_path / 'once'}", f"mine={tmp_path / 'once'}"):
        assert default_recipe(spec) == "impacts-dpo"


def test_a_saved_recipe_reads_back_as_it_was(tmp_path: Path) -> None:
    recipe = load_recipe(DPORecipe, "impacts-dpo", ["beta=50", "stage_steps=[60,30]", "panel=null"])
    (tmp_path / "recipe.yaml").write_text(saved(recipe))
    assert load_recipe(DPORecipe, str(tmp_path / "recipe.yaml")) == recipe


def write_tiny_pairs(folder: Path, videos: Path) -> Path:
    """Two samples of tiny-flow for each video; the one with the larger first component wins."""
    model, pairs = tiny_flow(), []
    clips = open_folder(str(videos), DatasetOptions()).clips
    seconds = 2.0
    for number, clip in enumerate(clips):
        given = model.condition([Request(clip, seconds, 0)])[0]
        told = stack([cast(dict[str, torch.Tensor], given)] * 2, "cpu")
        shape = model.latent_shape(seconds)
        noise = torch.stack([noise_for(10 * number + k, shape) for k in range(2)])
        latents = sample_latents(model, told, noise).clone()
        place = folder / "latents" / f"{number}.safetensors"
        place.parent.mkdir(parents=True, exist_ok=True)
        save_file({str(k): latents[k].half() for k in range(2)}, place)
        best = int(latents[:, :, 0].mean(1).argmax())
        sides = {"winner": best, "loser": 1 - best}
        pairs.append(
            PreferencePair(
                clip=clip.id,
                prompt=clip.prompt,
                video=str(clip.video),
                source="auto",
                complexity=0.8 if number % 2 else 0.3,
                samples=".",
                **{side: f"{clip.id}#{k}" for side, k in sides.items()},  # type: ignore[arg-type]
                **{f"{side}_audio": f"{number}-{k}.wav" for side, k in sides.items()},  # type: ignore[arg-type]
                **{f"{side}_hash": f"{number}-{k}" for side, k in sides.items()},  # type: ignore[arg-type]
                **{f"{side}_seed": 10 * number + k for side, k in sides.items()},  # type: ignore[arg-type]
                **{f"{side}_latent": f"latents/{number}.safetensors#{k}" for side, k in sides.items()},  # type: ignore[arg-type]
            )
        )
    card = {"model": {"spec": "tiny-flow", "recipe": dict(model.recipe)}, "seconds": [seconds]}
    (folder / "card.json").write_text(json.dumps(card))
    write_pairs(folder / "pairs.parquet", pairs, {"rule": "first component"})
    return folder / "pairs.parquet"


def test_from_pairs_to_a_run_of_the_aligned_model(tmp_path: Path, videos: Path, protocol_file: Path) -> None:
    pairs = write_tiny_pairs(tmp_path / "samples", videos)
    output = tmp_path / "aligned"
    arguments = ["finetune", "dpo", "--model", "tiny-flow", "--pairs", str(pairs), "--output", str(output)]
    arguments += ["--max-steps", "4", "--device", "cpu", "--workers", "0", "--no-board", "--beta", "50"]
    overrides = ("per_device_train_batch_size=2", "held_out_pairs=1", "eval_steps=2", "save_steps=2")
    panel = (
        f"panel={{dataset: 'folder:{videos}', limit: 2, protocol: '{protocol_file}', metrics: [Loudness]}}"
    )
    arguments += [part for override in (*overrides, panel) for part in ("--set", override)]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    card = json.loads((output / "aligned.json").read_text())
    assert card["pairs"]["hash"] == content_hash(pairs)
    assert (card["steps"], card["generator_forwards"]) == (4, 4 * 2 * 2 * 2)
    assert card["convention"]["error"] < card["convention"]["flipped_time"]
    assert "panel/Loudness" in (output / "evaluation.csv").read_text()
    assert load_recipe(DPORecipe, str(output / "recipe.yaml")).beta == 50
    evaluated = ["eval", "--dataset", f"folder:{videos}", "--limit", "2", "--protocol", str(protocol_file)]
    evaluated += [
        "--model",
        str(output),
        "--output",
        str(tmp_path / "runs"),
        "--workers",
        "0",
        "--device",
        "cpu",
    ]
    assert CliRunner().invoke(app, evaluated, catch_exceptions=False).exit_code == 0
    (report,) = (tmp_path / "runs").rglob("report.json")
    assert json.loads(report.read_text())["model"]["name"] == "tiny-flow-dpo"


def test_a_model_that_is_no_flow_cannot_be_aligned(tmp_path: Path, videos: Path) -> None:
    pairs = write_tiny_pairs(tmp_path, videos)
    arguments = ["finetune", "dpo", "--model", "silence", "--pairs", str(pairs), "--recipe", "impacts-dpo"]
    with pytest.raises(V2ABenchError, match="cannot be aligned"):
        CliRunner().invoke(app, [*arguments, "--output", str(tmp_path / "x")], catch_exceptions=False)
