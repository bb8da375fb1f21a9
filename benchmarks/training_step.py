"""What a step of Flow-DPO costs beside its bare arithmetic, and how much memory it takes.

The bare step runs the policy forward and backward and the reference forward on the same batch, with
the plain squared error as loss, and updates; ours is the whole step of the trainer: drawing, reading
latents and conditions, the loss, diagnostics, clipping, averaging, logging. The two take turns in one
process on the same network; medians of `--repeats` count, of processor time on a CPU. Latents and
conditions are random, since cost does not depend on them; MMAudio's weights are deterministic. Run as

    OMP_NUM_THREADS=2 python benchmarks/training_step.py
    OMP_NUM_THREADS=2 python benchmarks/training_step.py --model mmaudio-small-16k --lora-rank 16 --batch 2
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast
from unittest.mock import patch

import torch
from accelerate import Accelerator
from torch import Tensor

from v2abench.clips import Clip, Dataset
from v2abench.contracts import Request
from v2abench.datasets.opening import DatasetOptions, open_dataset
from v2abench.finetune.dpo import DPORun, start_dpo
from v2abench.finetune.guard import Convention
from v2abench.finetune.pair_data import PairData
from v2abench.finetune.points import batch_at, step_points
from v2abench.finetune.preferences.pairs import Pair, PairSet
from v2abench.finetune.recipe import DPORecipe, load_recipe
from v2abench.finetune.tensors import TensorStore
from v2abench.flow import Conditions, FlowModel
from v2abench.models import ModelContext, open_model
from v2abench.weights.deterministic import weights_mode

MMAUDIO = {"clip": (64, 1024), "sync": (192, 768), "text": (77, 1024)}
PAIRS = 64


@dataclass(frozen=True)
class RandomPairs(PairData):
    """Pairs of random latents under random conditions, kept in memory as a store's files would be."""

    latent_shape: tuple[int, ...] = ()
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def latents(self, indices: Sequence[int]) -> Tensor:
        """Return (2B, ...) latents."""
        return torch.stack(
            [_noise(index + side * PAIRS, self.latent_shape) for side in (0, 1) for index in indices]
        )

    def conditions_of(self, indices: Sequence[int], device: str | torch.device) -> Conditions:
        """Return (B, ...) conditions."""
        return {
            name: torch.stack([_noise(index, shape) for index in indices]).to(device)
            for name, shape in self.shapes
        }


def _noise(seed: int, shape: tuple[int, ...]) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pairs_for(model: FlowModel, name: str, seconds: float) -> RandomPairs:
    """Return pairs whose latents and conditions have the shapes of the model's own."""
    pair = Pair("clip", None, "", "auto", 0.0, "", "w", "l", "", "", "", "", 0, 0)
    some = tuple(replace(pair, winner=f"w{index}", loser=f"l{index}") for index in range(PAIRS))
    nothing = cast(TensorStore, None)
    shapes = MMAUDIO if name.startswith("mmaudio") else shapes_of(model, seconds)
    return RandomPairs(
        some, PairSet(some), nothing, nothing, {}, tuple(model.latent_shape(seconds)), tuple(shapes.items())
    )


def shapes_of(model: FlowModel, seconds: float) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the conditions that the model makes of one rendered clip."""
    clip: Clip = open_dataset("impacts:val", DatasetOptions(limit=1)).clips[0]
    (told,) = model.condition([Request(clip, seconds, 0)])
    return {key: tuple(tensor.shape) for key, tensor in cast(Conditions, told).items()}


def bare(run: DPORun, batch: Sequence[int], step: int) -> None:
    """One policy forward and backward, one reference forward, one update, on the points of a step."""
    recipe, pair = run.recipe, run.pair
    points = step_points(
        recipe, run.data, batch, positions=range(len(batch)), step=step, batch_size=len(batch)
    )
    given = batch_at(run.data, batch, points, run.objective.device)
    pair.reference(given.x_t, given.t, given.conditions, 0.0)
    policy = pair.policy(given.x_t, given.t, given.conditions)
    (policy - given.target).square().mean().backward()
    run.trainer.optimizer.step()
    run.trainer.optimizer.zero_grad(set_to_none=True)


def timed(action: Callable[[], object]) -> float:
    """Return seconds of processor time."""
    start = time.process_time()
    action()
    return time.process_time() - start


def peak_gb() -> float:
    """Return the highest resident memory of this process so far, in 10^9 bytes."""
    with Path("/proc/self/status").open(encoding="ascii") as status:
        (line,) = [line for line in status if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024 / 1e9


@dataclass(frozen=True)
class Steps:
    """Processor seconds of our steps and of bare ones; millions of trained parameters; peak memory."""

    ours: Sequence[float]
    bare: Sequence[float]
    trained: float
    peak_gb: float
    loaded_gb: float

    @property
    def ratios(self) -> list[float]:
        """How many times a bare step each of ours takes."""
        return [a / b for a, b in zip(self.ours, self.bare, strict=True)]


def recipe_for(batch: int, repeats: int, lora_rank: int = 0, *, checkpointing: bool = False) -> DPORecipe:
    """Return a recipe of `repeats` steps and one before them, without evaluations."""
    said = [f"per_device_train_batch_size={batch}", "panel=null", "held_out_pairs=0", "warmup_steps=0"]
    said += [f"max_steps={repeats + 1}", "eval_steps=1000", "save_steps=1000", "curriculum_thresholds=[]"]
    said += [f"lora.rank={lora_rank}"] if lora_rank else ["lora=null"]
    said += [f"gradient_checkpointing={str(checkpointing).lower()}"]
    return load_recipe(DPORecipe, "impacts-dpo", said)


def measure(name: str, recipe: DPORecipe, seconds: float, repeats: int) -> Steps:
    """Train the model `name` for `repeats` steps on sound of `seconds`, a bare step after each."""
    with weights_mode("deterministic" if name.startswith("mmaudio") else "official"):
        flow = cast(FlowModel, open_model(name, ModelContext(Dataset("none", "none", ()))).model)
    data = pairs_for(flow, name, seconds)
    loaded = peak_gb()
    # A network of random weights foretells nothing, so that the check before training would refuse it.
    harmless = patch("v2abench.finetune.dpo.check_convention", return_value=Convention(0.0, 1.0, 1.0))
    with tempfile.TemporaryDirectory() as folder, harmless:
        run = start_dpo(
            flow, data, recipe, Path(folder), accelerator=Accelerator(cpu=True), fingerprint="benchmark"
        )
        run._step()
        ours, plain = [], []
        for number in range(1, repeats + 1):
            ours.append(timed(run._step))
            plain.append(timed(lambda step=number: bare(run, run.schedule.batch(step), step)))
    trained = sum(p.numel() for p in run.trainer.parameters.values()) / 1e6
    return Steps(ours, plain, trained, peak_gb(), loaded)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="tiny-flow")
    parser.add_argument("--batch", type=int, default=16, help="pairs in a step")
    parser.add_argument("--lora-rank", type=int, default=0, help="0: all weights")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, help="of sound; default: 8, of tiny-flow 4")
    parser.add_argument("--checkpointing", action="store_true", help="recompute blocks in the backward pass")
    given = parser.parse_args()
    seconds = given.seconds or (4.0 if given.model == "tiny-flow" else 8.0)
    recipe = recipe_for(given.batch, given.repeats, given.lora_rank, checkpointing=given.checkpointing)
    steps = measure(given.model, recipe, seconds, given.repeats)
    print(f"{platform.machine()}, cpu, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{given.model}, {given.batch} pairs of {seconds:g} s, {steps.trained:.2f} M trained parameters")
    print(
        f"a step {statistics.median(steps.ours):.3f} s, the bare step {statistics.median(steps.bare):.3f} s"
    )
    turns = ", ".join(f"{ratio:.2f}" for ratio in steps.ratios)
    print(f"ratio {statistics.median(steps.ratios):.3f} (each turn: {turns})")
    print(f"peak memory {steps.peak_gb:.2f} GB, {steps.loaded_gb:.2f} GB of it before training")


if __name__ == "__main__":
    main()
