"""`v2abench impacts train tiny-flow`: from rendered scenes to weights and a card, on two cores.

First the latent space is fitted to the sounds, then the video encoder learns to foretell the
latents, then the flow is trained on its features. All on imperfect pairs of the training split.
The folder keeps a checkpoint of either stage; a run that was killed goes on there.

Rectified flow (Liu, Gong and Liu, 2023): x_t = (1 - t) · noise + t · data, squared error of the
velocity data - noise. The noise level 1 - t is logit-normal(1.6, 1.2), mostly noise: a
centred one stalls, as timing and material are decided early.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from v2abench.baselines.tiny_flow import latent, prompts, weights
from v2abench.baselines.tiny_flow.grades import graded
from v2abench.baselines.tiny_flow.imperfect import SHARE, imperfect_sounds
from v2abench.baselines.tiny_flow.loop import Checkpoint, Loss, Stage, Trained, named_generator, train_stage
from v2abench.baselines.tiny_flow.model import tiny_flow
from v2abench.baselines.tiny_flow.network import FlowTransformer
from v2abench.baselines.tiny_flow.spectrogram import log_mel
from v2abench.baselines.tiny_flow.vision import FEATURES, VideoEncoder
from v2abench.files import atomic, write_text
from v2abench.flow import Conditions
from v2abench.impacts.scenes import VERSION
from v2abench.impacts.training_data import TrainingData, training_data
from v2abench.progress import Progress, silent

CARD = "card.json"
_AT_ONCE = 32


@dataclass(frozen=True)
class Recipe:
    """What is trained how. Noise levels are sigmoid(noise_mean + noise_spread · normal)."""

    seed: int = 0
    clips: int = 4000
    held_out: int = 128
    video: Stage = field(default_factory=lambda: Stage("video", steps=1000, batch=8, learning_rate=1.5e-3))
    flow: Stage = field(default_factory=lambda: Stage("flow", steps=4800, batch=16, learning_rate=1e-3))
    noise_mean: float = 1.6
    noise_spread: float = 1.2
    drop_all: float = 0.1
    drop_prompt: float = 0.5

    def seeded(self) -> Recipe:
        """Return the recipe with its seed in both stages."""
        video, flow = (replace(stage, seed=self.seed) for stage in (self.video, self.flow))
        return replace(self, video=video, flow=flow)

    def fingerprint(self, stage: Stage) -> str:
        """Return all that a stage depends on, beside the code: the flow stands on the video encoder."""
        described: dict[str, object] = {
            "world": VERSION,
            "seed": self.seed,
            "clips": self.clips,
            "video": asdict(self.video),
        }
        if stage == self.flow:
            described |= asdict(self)
        return json.dumps(described, sort_keys=True)


@dataclass
class Corpus:
    """What training reads of a split: (count, tokens, 64) latents, pictures on demand, bags of words,
    and, once the video encoder is trained, (count, tokens, 128) float16 features.
    """

    data: TrainingData
    latents: Tensor
    words: Tensor
    features: Tensor | None = None

    def conditions(self, indices: Tensor) -> Conditions:
        """Return the batched conditions of some clips."""
        if self.features is None:
            raise AssertionError("the video encoder is trained first")
        seen = torch.ones(len(indices), 1)
        return {"frames": self.features[indices].float(), "words": self.words[indices], "seen": seen}


@dataclass(frozen=True)
class Pairs:
    """The imperfect pairs of a training: their latents in the space fitted to them, and their faults."""

    space: latent.LatentSpace
    latents: Tensor
    words: Tensor
    vocabulary: tuple[str, ...]
    faults: dict[str, int]


def train(folder: Path, recipe: Recipe | None = None, progress: Progress = silent) -> Path:
    """Train tiny-flow and return the path of its weights, in `folder` beside its card and checkpoints.

    Deterministic from the recipe's seed on one machine with one number of threads. Raises
    `V2ABenchError` where `folder` holds another training's checkpoint.
    """
    chosen = (recipe or Recipe()).seeded()
    data = training_data("train", chosen.clips, progress=progress)
    pairs = _pairs(folder / "pairs.pt", chosen, data, progress)
    corpus = Corpus(data, pairs.latents, pairs.words)
    held_out = _held_out(chosen, pairs, progress)
    video = _train_video(folder, chosen, corpus, progress)
    for part in (corpus, held_out):
        part.features = _features(video.module, part.data, progress)
    flow = _train_flow(folder, chosen, corpus, progress)
    path = folder / "weights.safetensors"
    weights.save(_parts(pairs, video, flow), path)
    parts = weights.load(path)
    figures = {
        "video_loss": _mean_loss(_video_loss(parts.video, held_out), held_out),
        "flow_loss": _mean_loss(_flow_loss(parts.flow, held_out, replace(chosen, drop_all=0)), held_out),
        **graded(tiny_flow(parts, path), held_out.data.scenes, held_out.conditions, progress),
    }
    _write_card(folder / CARD, chosen, pairs.faults, figures, {"video": video.log, "flow": flow.log})
    return path


def _pairs(path: Path, recipe: Recipe, data: TrainingData, progress: Progress) -> Pairs:
    """Return the imperfect pairs, from `path` where they have been made before."""
    fingerprint = json.dumps([VERSION, recipe.seed, recipe.clips])
    stored = torch.load(path, weights_only=True) if path.is_file() else {}
    if stored.get("fingerprint") != fingerprint:
        sounds, faults = imperfect_sounds(data, recipe.seed, progress)
        mel = _spectrograms(torch.from_numpy(sounds))
        space = latent.fit(mel)
        known = prompts.vocabulary(scene.prompt for scene in data.scenes)
        stored = {
            "fingerprint": fingerprint,
            "space": space.state_dict(),
            "latents": _projected(space, mel),
            "words": _bags(data, known),
            "vocabulary": known,
            "faults": dict(faults),
        }
        with atomic(path) as temporary:
            torch.save(stored, temporary)
    space = latent.LatentSpace()
    space.load_state_dict(stored["space"])
    return Pairs(space, stored["latents"], stored["words"], tuple(stored["vocabulary"]), stored["faults"])


def _projected(space: latent.LatentSpace, mel: Tensor) -> Tensor:
    return torch.cat([space.project(part) for part in torch.split(mel, _AT_ONCE)])


def _bags(data: TrainingData, known: tuple[str, ...]) -> Tensor:
    return torch.stack([prompts.bag(scene.prompt, known) for scene in data.scenes])


def _spectrograms(sounds: Tensor) -> Tensor:
    """Return the (count, frames, 64) log-mel spectrograms of 16-bit sounds."""
    return torch.cat([log_mel(part.float() / 32767) for part in torch.split(sounds, _AT_ONCE)])


def _held_out(recipe: Recipe, pairs: Pairs, progress: Progress) -> Corpus:
    """Return clean pairs of the validation split."""
    data = training_data("val", recipe.held_out, progress=progress)
    mel = torch.cat([log_mel(torch.from_numpy(data.sounds([i]))) for i in range(data.count)])
    return Corpus(data, _projected(pairs.space, mel), _bags(data, pairs.vocabulary))


def _train_video(folder: Path, recipe: Recipe, corpus: Corpus, progress: Progress) -> Trained:
    module = _seeded(recipe.seed, VideoEncoder)
    return train_stage(
        module,
        _video_loss(module, corpus),
        recipe.video,
        corpus.data.count,
        checkpoint=Checkpoint(folder / "video.pt", recipe.fingerprint(recipe.video)),
        progress=progress,
    )


def _train_flow(folder: Path, recipe: Recipe, corpus: Corpus, progress: Progress) -> Trained:
    words = corpus.words.shape[1]
    module = _seeded(recipe.seed, lambda: FlowTransformer(words))
    return train_stage(
        module,
        _flow_loss(module, corpus, recipe),
        recipe.flow,
        corpus.data.count,
        checkpoint=Checkpoint(folder / "flow.pt", recipe.fingerprint(recipe.flow)),
        progress=progress,
    )


def _seeded(seed: int, make: Callable[[], nn.Module]) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def _video_loss(module: VideoEncoder, corpus: Corpus) -> Loss:
    def loss(indices: Tensor, _generator: Generator) -> Tensor:
        pictures = torch.from_numpy(corpus.data.frames(indices.numpy()))
        foretold = module.foretell(module(pictures))
        return nn.functional.mse_loss(foretold, corpus.latents[indices])

    return loss


def _flow_loss(module: FlowTransformer, corpus: Corpus, recipe: Recipe) -> Loss:
    def loss(indices: Tensor, generator: Generator) -> Tensor:
        data = corpus.latents[indices]
        noise = torch.randn(data.shape, generator=generator)
        level = torch.sigmoid(
            recipe.noise_mean + recipe.noise_spread * torch.randn(len(data), generator=generator)
        )
        x_t = torch.lerp(data, noise, level[:, None, None])
        told = _dropped(corpus.conditions(indices), recipe, generator)
        velocity = module(x_t, 1 - level, module.embed(told))
        return nn.functional.mse_loss(velocity, data - noise)

    return loss


def _dropped(conditions: Conditions, recipe: Recipe, generator: Generator) -> Conditions:
    """Leave out everything of some clips, and the prompt of others."""
    draws = torch.rand(2, len(conditions["seen"]), 1, generator=generator)
    seen = (draws[0] >= recipe.drop_all).float()
    prompted = (draws[1] >= recipe.drop_prompt).float()
    return {"frames": conditions["frames"], "words": conditions["words"] * seen * prompted, "seen": seen}


@torch.inference_mode()
def _features(module: nn.Module, data: TrainingData, progress: Progress) -> Tensor:
    """Return the (count, tokens, 128) float16 features of all clips."""
    features = torch.empty(data.count, data.frames([0]).shape[1], FEATURES, dtype=torch.float16)
    with progress(f"see {data.split}", data.count) as advance:
        for indices in torch.split(torch.arange(data.count), 8):
            features[indices] = module(torch.from_numpy(data.frames(indices.numpy()))).half()
            advance(len(indices))
    return features.clone()


@torch.inference_mode()
def _mean_loss(loss: Loss, corpus: Corpus) -> float:
    """Return the loss over all clips, at times and noises that are always the same."""
    generator = named_generator(0, "held out")
    losses = [float(loss(part, generator)) for part in torch.split(torch.arange(corpus.data.count), _AT_ONCE)]
    return float(np.mean(losses))


def _parts(pairs: Pairs, video: Trained, flow: Trained) -> weights.Parts:
    if not isinstance(video.module, VideoEncoder) or not isinstance(flow.module, FlowTransformer):
        raise AssertionError("the stages train these modules")
    return weights.Parts(pairs.space, video.module.eval(), flow.module.eval(), pairs.vocabulary)


def _write_card(
    path: Path,
    recipe: Recipe,
    faults: Mapping[str, int],
    figures: Mapping[str, float],
    log: Mapping[str, list[dict[str, float]]],
) -> None:
    card = {
        "model": "tiny-flow",
        "format": weights.FORMAT,
        "data": f"impacts version {VERSION}, train[:{recipe.clips}], {SHARE:.2f} of the pairs wrong",
        "faults": faults,
        "recipe": asdict(recipe),
        "held_out": {"clips": f"val[:{recipe.held_out}], clean", **figures},
        "log": log,
    }
    write_text(path, json.dumps(card, indent=1, sort_keys=True) + "\n")
