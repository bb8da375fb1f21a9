"""Flow-DPO and its rivals on `impacts`: paired differences from the base on held-out videos.

    python benchmarks/alignment.py --output runs/alignment    # all arms, 3 seeds (ablations 1): hours
    python benchmarks/alignment.py --output runs/alignment --arms dpo sft-random --seeds 1 --videos 48

Every arm may use as many passes of the generator as DPO does, sampling included. Each gets a guidance
scale of its own, chosen by P(Good) on validation clips; so does the base. What is told is the mean over
videos of (aligned - base), each averaged over the noises and taken at the same noises, with 1.96 standard
errors over videos; with several seeds, of a video's mean over them. Whatever ends is kept in --output,
and is not done again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from v2abench.clips import Clip, Dataset
from v2abench.contracts import ModelInfo
from v2abench.datasets.opening import DatasetOptions, open_dataset
from v2abench.features.extraction import Extractor
from v2abench.files import write_text
from v2abench.finetune.preferences.building import pair_folders
from v2abench.finetune.preferences.pairs import read_pairs, write_pairs
from v2abench.finetune.preferences.rules import RuleOptions
from v2abench.finetune.preferences.samples import SampleFolder, read_samples
from v2abench.finetune.preferences.sampling import SamplingOptions, sample
from v2abench.finetune.preferences.scoring import SCORES, open_grader, score_folder
from v2abench.finetune.recipe import DPORecipe, PolicyGradientRecipe, load_recipe
from v2abench.finetune.rewards import Reward, SoundFiles, open_reward
from v2abench.finetune.running import Place, finetune_dpo, finetune_online
from v2abench.home import home
from v2abench.impacts.oracle import answer_to, grade
from v2abench.impacts.spectrograms import log_mel
from v2abench.media.reading import read_audio
from v2abench.models import GenerationOptions, ModelContext, NamedModel, open_model
from v2abench.protocols.schema import load_protocol
from v2abench.runs.evaluation import Evaluation, Settings

MODEL = "tiny-flow"
PROTOCOL = load_protocol("impacts")
RECIPE = load_recipe(DPORecipe, "impacts-dpo")
PAIRED_AT = RECIPE.preferences.guidance_scale if RECIPE.preferences else None
PER_CLIP = ("Onset-F1", "Material", "DeSync_impacts", "IB_impacts", "KL_impacts", "Level-Diff")
OF_THE_SET = ("FD_impacts", "IS_impacts")
JUDGES = PROTOCOL.model_copy(
    update={"metrics": tuple(m for m in PROTOCOL.metrics if m.name in {*PER_CLIP, *OF_THE_SET})}
)
"""What judges an arm: AV-Align is left out, whose optical flow takes most of the time and tells least."""

Overrides = tuple[str, ...]
PLAIN: Overrides = ("curriculum_thresholds=[]",)
ARMS: dict[str, tuple[str, Overrides]] = {
    "dpo": ("impacts-dpo", ()),
    "dpo-plain": ("impacts-dpo", PLAIN),
    "sft-winners": ("impacts-dpo", (*PLAIN, "loss_type=sft")),
    "sft-random": ("impacts-dpo", (*PLAIN, "loss_type=sft")),
    "ddpo-fair": ("impacts-ddpo", ()),
    "ddpo-stock": ("impacts-ddpo", ("scale_rewards=stock", "num_generations=1", "videos_per_rollout=64")),
    "grpo": ("impacts-grpo", ()),
}
ABLATIONS: dict[str, tuple[str, Overrides]] = {
    **{f"dpo-beta-{beta}": ("impacts-dpo", (f"beta={beta}",)) for beta in (100, 1000)},
    **{f"dpo-delta-{delta}": ("impacts-dpo", (f"curriculum_thresholds=[{delta}]",)) for delta in (0.3, 0.5)},
    "dpo-loser-weight-1": ("impacts-dpo", ("loser_weight=1",)),
    "dpo-uniform-times": ("impacts-dpo", ("t_sampling=uniform",)),
    "ddpo-fair-guided": ("impacts-ddpo", (f"guidance_scale={PAIRED_AT}",)),
}

COLUMNS: dict[str, tuple[str, int]] = {
    "guidance_scale": ("", 1),
    "P(Good)": ("↑", 3),
    "oracle": ("↑", 3),
    "oracle onset F1": ("↑", 3),
    "oracle material": ("↑", 3),
    "Onset-F1": ("↑", 3),
    "Material": ("↑", 3),
    "DeSync_impacts": ("↓", 4),
    "IB_impacts": ("↑", 2),
    "KL_impacts": ("↓", 3),
    "Level-Diff": ("↓", 2),
    "diversity": ("", 2),
    "FD_impacts": ("↓", 2),
    "IS_impacts": ("↑", 2),
}
"""What is told, which way is better, and with how many decimals."""


@dataclass(frozen=True)
class Bench:
    """Where things lie and how much is done."""

    folder: Path
    clips: int
    videos: int
    noises: int
    validation: int
    scales: tuple[float, ...]
    steps: int

    def extractor(self) -> Extractor:
        """Return what reads media, on the CPU in this process."""
        return Extractor(home() / "features", PROTOCOL.window)

    def reward(self) -> Reward:
        """Return P(Good)."""
        return open_reward("audioscore", "p_good", PROTOCOL, self.folder / "reward")

    def budget(self) -> int:
        """Return the generator passes of DPO: guided sampling of the pairs, then policy and reference."""
        steps = open_model(MODEL, ModelContext(Dataset("none", "none", ()))).model.sampling.steps  # type: ignore[attr-defined]
        sampled = self.clips * 5 * steps * 2
        return sampled + self.steps * RECIPE.per_device_train_batch_size * 4


def main() -> None:
    """Train, sweep, measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", choices=[*ARMS, *ABLATIONS], default=[*ARMS, *ABLATIONS])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ablation-seeds", type=int, default=1)
    parser.add_argument("--clips", type=int, default=320, help="training clips of which pairs are made")
    parser.add_argument("--videos", type=int, default=192, help="held-out clips of the test split")
    parser.add_argument("--noises", type=int, default=2)
    parser.add_argument("--validation", type=int, default=32, help="clips of the guidance sweep")
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0, 1.5, 2.0, 2.5])
    parser.add_argument("--steps", type=int, default=RECIPE.max_steps, help="of DPO and supervised tuning")
    given = parser.parse_args()
    bench = Bench(
        given.output,
        given.clips,
        given.videos,
        given.noises,
        given.validation,
        tuple(given.scales),
        given.steps,
    )
    pairs = make_pairs(bench)
    base = measured(bench, MODEL, bench.folder / "base")
    known: dict[str, list[Measured]] = {}
    seeds = {arm: given.ablation_seeds if arm in ABLATIONS else given.seeds for arm in given.arms}
    for seed in range(max(seeds.values())):
        for arm in (arm for arm, count in seeds.items() if seed < count):
            folder = train(bench, arm, seed, pairs)
            known.setdefault(arm, []).append(measured(bench, str(folder), folder))
            tell(bench, base, known)


def make_pairs(bench: Bench) -> dict[str, Path]:
    """Sample, score and pair; `random` has as winner one of each video's samples, whatever its score."""
    best, anyone, folder = (
        bench.folder / "pairs.parquet",
        bench.folder / "random.parquet",
        bench.folder / "own",
    )
    if not best.is_file():
        dataset = open_dataset("impacts:train", DatasetOptions(limit=bench.clips))
        draw(bench, MODEL, PAIRED_AT, dataset, folder, count=5)
        if not (folder / SCORES).is_file():
            classifier, parts = open_grader(PROTOCOL, None, None)
            score_folder(
                read_samples(folder), PROTOCOL, bench.extractor(), classifier=classifier, components=parts
            )
        pair_folders([folder], "extremes", RuleOptions(), best)
        pair_folders([folder], "random", RuleOptions(), anyone)
        drawn, turned = read_pairs(anyone), []
        for number, pair in enumerate(drawn):
            flip = np.random.default_rng(number).random() < 0.5
            sides = {
                f"{one}_{name}": getattr(pair, f"{other}_{name}")
                for one, other in (("winner", "loser"), ("loser", "winner"))
                for name in ("audio", "hash", "seed", "latent")
            }
            turned.append(replace(pair, winner=pair.loser, loser=pair.winner, **sides) if flip else pair)
        write_pairs(anyone, turned, {**drawn.card, "rule": "a random sample"})
    return {"best": best, "random": anyone}


def train(bench: Bench, arm: str, seed: int, pairs: Mapping[str, Path]) -> Path:
    """Train one arm with one seed; return its folder."""
    recipe, overrides = (ARMS | ABLATIONS)[arm]
    folder = bench.folder / arm / f"seed-{seed}"
    place = Place(folder, device="cpu", name=f"{arm}-{seed}")
    said = [*overrides, f"seed={seed}", "panel=null"]
    if (folder / "aligned.json").is_file():
        return folder
    if recipe == "impacts-dpo":
        said = [*said, f"max_steps={bench.steps}"]
        file = pairs["random" if arm == "sft-random" else "best"]
        return finetune_dpo(MODEL, file, load_recipe(DPORecipe, recipe, said), place)
    chosen = load_recipe(PolicyGradientRecipe, recipe, said)
    networks, branches = 2 if chosen.beta else 1, 2 if (chosen.guidance_scale or 0) >= 1 else 1
    trained = chosen.num_iterations * (chosen.trained_steps or chosen.num_rollout_steps - 1) * networks
    samples = chosen.videos_per_rollout * chosen.num_generations
    rollouts = max(1, bench.budget() // (samples * branches * (chosen.num_rollout_steps + trained)))
    steps = rollouts * chosen.num_iterations
    chosen = load_recipe(PolicyGradientRecipe, recipe, [*said, f"max_steps={steps}"])
    return finetune_online(MODEL, chosen, place, "impacts")


@dataclass(frozen=True)
class Measured:
    """Values by metric, (videos, noises), in the order of the dataset; set values by name; the guidance."""

    values: Mapping[str, np.ndarray]
    whole: Mapping[str, float]
    guidance_scale: float


def measured(bench: Bench, model: str, folder: Path) -> Measured:
    """Sweep the guidance on validation clips, then judge on test clips; kept in `measured.json`."""
    place = folder / "measured" / f"{bench.videos}x{bench.noises}"
    file = place / "measured.json"
    if not file.is_file():
        scale = best_scale(bench, model, place)
        dataset = open_dataset("impacts:test", DatasetOptions(limit=bench.videos))
        samples = draw(bench, model, scale, dataset, place / "test", count=bench.noises)
        values, whole = judge(bench, samples, dataset)
        kept = {"values": {k: v.tolist() for k, v in values.items()}, "whole": whole, "guidance_scale": scale}
        write_text(file, json.dumps(kept))
    kept = json.loads(file.read_text(encoding="utf-8"))
    values = {name: np.array(rows, dtype=float) for name, rows in kept["values"].items()}
    return Measured(values, kept["whole"], kept["guidance_scale"])


def best_scale(bench: Bench, model: str, place: Path) -> float:
    """Return the guidance scale with the highest P(Good) on validation clips."""
    dataset = open_dataset("impacts:val", DatasetOptions(limit=bench.validation))
    scores = {}
    for scale in bench.scales:
        samples = draw(bench, model, scale, dataset, place / f"guidance-{scale:g}", count=1)
        scores[scale] = float(np.mean(p_good(bench, samples)))
    return max(scores, key=scores.__getitem__)


def draw(
    bench: Bench, model: str, scale: float | None, dataset: Dataset, folder: Path, *, count: int
) -> SampleFolder:
    """Sample `count` sounds a clip, from the same seeds whatever the model."""
    context = ModelContext(dataset, options=GenerationOptions(guidance_scale=scale))
    options = SamplingOptions(count, seed=7 if count < 5 else 0)
    sample(open_model(model, context), dataset, folder, bench.extractor(), options)
    return read_samples(folder)


def p_good(bench: Bench, samples: SampleFolder) -> list[float]:
    """Return P(Good) of every sample."""
    sounds = [read_audio(samples.audio(one)) for one in samples.samples]
    clips = [samples.clips[one.clip] for one in samples.samples]
    return [float(value) for value in bench.reward()(clips, sounds)]


def judge(
    bench: Bench, samples: SampleFolder, dataset: Dataset
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return values by metric, (videos, noises), and those of the whole set."""
    ids = [one.sample for one in samples.samples]
    grades = [grade(answer_to(one.clip), read_audio(samples.audio(one))) for one in samples.samples]
    columns: dict[str, Sequence[float]] = {
        "P(Good)": p_good(bench, samples),
        "oracle": [one.overall for one in grades],
        "oracle onset F1": [one.f1 for one in grades],
        "oracle material": [float(one.right_material) for one in grades],
    }
    per_clip, whole = protocol_values(bench, samples)
    columns |= {name: [per_clip[name].get(i, np.nan) for i in ids] for name in PER_CLIP if name in per_clip}
    rows = {name: np.reshape(values, (len(dataset.clips), -1)) for name, values in columns.items()}
    return rows | {"diversity": diversity(samples)[:, None]}, whole


def protocol_values(
    bench: Bench, samples: SampleFolder
) -> tuple[Mapping[str, Mapping[str, float]], dict[str, float]]:
    """Return the protocol's metrics: those of single sounds by metric and sample, and those of the set."""
    named: list[Clip] = [replace(samples.clips[one.clip], id=one.sample) for one in samples.samples]
    files = {one.sample: samples.audio(one) for one in samples.samples}
    model = SoundFiles(files, ModelInfo("samples"))
    evaluation = Evaluation(
        Dataset("samples", "samples", tuple(named)),
        JUDGES,
        JUDGES.build_metrics(),
        bench.extractor(),
        Settings(bootstrap=None),
    )
    run = evaluation.run(NamedModel(model, model.info, "samples"), samples.path)
    whole = {s.name: s.value for s in run.report.scores if s.value is not None and s.name not in PER_CLIP}
    return run.per_clip, whole


def diversity(samples: SampleFolder) -> np.ndarray:
    """Return (videos,) mean absolute differences in log-mel between the sounds of one video (nepers)."""
    by_clip: dict[str, list[np.ndarray]] = {}
    for one in samples.samples:
        by_clip.setdefault(one.clip, []).append(log_mel(read_audio(samples.audio(one)).samples[0]))
    return np.array(
        [
            np.mean([np.abs(a - b).mean() for a in m for b in m if a is not b] or [0.0])
            for m in by_clip.values()
        ]
    )


def summary(seeds: Sequence[Measured], base: Measured) -> dict[str, object]:
    """Return means over seeds, and paired differences from the base with half-widths of 95 % over videos.

    A video's difference is its mean over seeds; `of_seeds` are the differences of each seed.
    """
    told: dict[str, object] = {
        "guidance_scale": [one.guidance_scale for one in seeds],
        **{name: [one.whole[name] for one in seeds] for name in base.whole},
    }
    for name, values in base.values.items():
        found = np.stack([np.nanmean(one.values[name], axis=1) for one in seeds]) - np.nanmean(values, axis=1)
        difference = found[:, np.isfinite(found).all(axis=0)]
        over_seeds = difference.mean(axis=0)
        told[name] = {
            "mean": float(np.mean([np.nanmean(one.values[name]) for one in seeds])),
            "difference": float(over_seeds.mean()),
            "half_width": float(1.96 * over_seeds.std(ddof=1) / np.sqrt(len(over_seeds))),
            "of_seeds": difference.mean(axis=1).tolist(),
        }
    return told


def tell(bench: Bench, base: Measured, known: Mapping[str, Sequence[Measured]]) -> None:
    """Write what is known so far as JSON and as a Markdown table, and print that."""
    found = {"base": summary([base], base)} | {arm: summary(seeds, base) for arm, seeds in known.items()}
    write_text(bench.folder / "results.json", json.dumps(found, indent=1) + "\n")
    columns = [name for name in COLUMNS if name in found["base"]]
    heads = ["arm", "seeds", *(f"{name} {COLUMNS[name][0]}".strip() for name in columns)]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for arm, row in found.items():
        seeds = str(len(known[arm])) if arm in known else "–"
        cells = [_cell(row[name], COLUMNS[name][1], base=arm == "base") for name in columns]
        lines.append(f"| {' | '.join([arm, seeds, *cells])} |")
    text = f"{bench.videos} test videos × {bench.noises} noises\n\n" + "\n".join(lines) + "\n"
    write_text(bench.folder / "results.md", text)
    print(text)


def _cell(value: object, digits: int, *, base: bool) -> str:
    """Return a mean for the base, else a difference with its half-width; a list, one entry a seed."""
    if isinstance(value, dict) and base:
        return f"{value['mean']:.{digits}f}"
    if isinstance(value, dict):
        told = f"{value['difference']:+.{digits}f} ± {value['half_width']:.{digits}f}"
        return told.replace("-", "−")
    return ", ".join(f"{one:.3g}" for one in value) if isinstance(value, list) else "–"


if __name__ == "__main__":
    main()
