"""What online training rewards: a function of clips and the sounds that were made for them.

`audioscore` (or `audioscore:NAME|FILE`) is a fitted AudioScore under a protocol; `METRIC` the name of a
metric of the protocol with a value for every clip; `MODULE:FUNCTION` anything that can be imported.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, cast

import torch
from torch import Tensor

from v2abench.clips import Clip, Dataset
from v2abench.contracts import Direction, Generated, ModelInfo, Request
from v2abench.errors import ClipFault, UnknownNameError, V2ABenchError
from v2abench.features.extraction import Extractor
from v2abench.finetune.preferences.reward import AudioScoreReward
from v2abench.home import home
from v2abench.media.audio import Audio
from v2abench.media.writing import write_audio
from v2abench.models import NamedModel
from v2abench.progress import silent
from v2abench.protocols.schema import Protocol
from v2abench.runs.evaluation import Evaluation, Settings

Reward = Callable[[Sequence[Clip], Sequence[Audio]], Tensor]
"""From clips and as many sounds to (n,) rewards, higher is better, finite."""

Transform = Literal["p_good", "logit", "difference"]


def transformed(probabilities: Tensor, transform: Transform) -> Tensor:
    """Return the (n,) rewards of (n, 3) P(Good), P(Medium), P(Bad).

    `p_good` is the paper's; it saturates near 0 and 1, where `logit`, its log-odds within ±7, does not;
    `difference` is P(Good) - P(Bad).
    """
    good, bad = probabilities[:, 0], probabilities[:, 2]
    match transform:
        case "p_good":
            return good
        case "logit":
            return torch.logit(good, eps=1e-3)
        case "difference":
            return good - bad


def named_audioscore(spec: str) -> str | None:
    """Return the fitted AudioScore that a reward names behind its colon, if it does."""
    name, _, argument = spec.partition(":")
    return argument if argument and name == "audioscore" else None


def open_reward(
    spec: str,
    transform: Transform,
    protocol: Protocol,
    folder: Path,
    *,
    device: str = "cpu",
    workers: int = 0,
    offline: bool = False,
) -> Reward:
    """Return the reward that `spec` names; a metric keeps its features and sounds in `folder`.

    AudioScore is the one that is named behind the colon, else that of the protocol's name.

    Raises `V2ABenchError` for what is none of them.
    """
    name, _, argument = spec.partition(":")
    if name != "audioscore" and argument:
        return imported_reward(spec)
    if name == "audioscore":
        extractor = Extractor(
            home() / "features", protocol.window, device=device, workers=workers, progress=silent
        )
        return Graded(
            AudioScoreReward(protocol, extractor, named_audioscore(spec) or protocol.name), transform
        )
    entries = {entry.name: entry for entry in protocol.metrics}
    if spec not in entries:
        raise UnknownNameError(
            "reward (audioscore, MODULE:FUNCTION, or a metric of the protocol)", spec, entries
        )
    own = Extractor(folder / "features", protocol.window, device=device, workers=workers, progress=silent)
    only = protocol.model_copy(update={"metrics": (entries[spec],)})
    return Measured(only, own, folder, offline)


@dataclass(frozen=True)
class Graded:
    """A reward made of the (n, 3) probabilities that `grade` gives."""

    grade: Reward
    transform: Transform

    def __call__(self, clips: Sequence[Clip], sounds: Sequence[Audio]) -> Tensor:
        """Return the (n,) rewards."""
        return transformed(self.grade(clips, sounds), self.transform)


@dataclass(frozen=True)
class Measured:
    """A metric with a value for every clip; a sound without one gets the worst of the others."""

    protocol: Protocol
    extractor: Extractor
    folder: Path
    offline: bool = False

    def __call__(self, clips: Sequence[Clip], sounds: Sequence[Audio]) -> Tensor:
        """Return the (n,) rewards, turned round where lower is better."""
        (metric,) = self.protocol.build_metrics()
        ids = [f"{clip.id}#{k}" for k, clip in enumerate(clips)]
        dataset = Dataset(
            "rollout", "rollout", tuple(replace(c, id=i) for c, i in zip(clips, ids, strict=True))
        )
        settings = Settings(bootstrap=None, offline=self.offline, progress=silent)
        evaluation = Evaluation(dataset, self.protocol, [metric], self.extractor, settings)
        with written(sounds, self.folder) as paths:
            model = SoundFiles(dict(zip(ids, paths, strict=True)))
            run = evaluation.run(NamedModel(model, model.info, "rollout"), self.folder)
        values = run.per_clip.get(metric.name, {})
        if not values:
            raise V2ABenchError(
                f"reward {metric.name} has no value for any sound of a rollout; it must be a metric with a "
                "value for every clip, whose weights are here"
            )
        sign = -1.0 if metric.direction is Direction.LOWER else 1.0
        worst = min(sign * value for value in values.values())
        return torch.tensor([sign * values[i] if i in values else worst for i in ids], dtype=torch.float64)


@dataclass(frozen=True)
class SoundFiles:
    """Sound files by clip id as a model, so that the harness can read them."""

    paths: Mapping[str, Path]
    info: ModelInfo = field(default_factory=lambda: ModelInfo("rollout"))
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def generate(self, requests: Sequence[Request]) -> Iterator[Generated]:
        """Yield the file of each clip."""
        for request in requests:
            yield Generated(request.clip.id, path=self.paths[request.clip.id])


@contextmanager
def written(sounds: Sequence[Audio], folder: Path) -> Iterator[list[Path]]:
    """Lend the sounds as files of 32-bit samples; a sound that is not finite becomes an empty file."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as place:
        paths = [Path(place) / f"{number}.wav" for number in range(len(sounds))]
        for path, sound in zip(paths, sounds, strict=True):
            try:
                write_audio(path, sound, bits=32)
            except ClipFault:
                path.touch()
        yield paths


def imported_reward(spec: str) -> Reward:
    """Return the function that `MODULE:FUNCTION` names; raises `V2ABenchError` where there is none."""
    module, _, name = spec.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise V2ABenchError(
            f"reward {spec}: {error}; give `audioscore`, a metric of the protocol, or MODULE:FUNCTION that "
            "Python can import"
        ) from error
    if not callable(found):
        raise V2ABenchError(f"reward {spec}: {name} is no function of clips and sounds")
    return cast(Reward, found)


def checked(rewards: Tensor, count: int, spec: str) -> Tensor:
    """Return (count,) float64 rewards; raises `V2ABenchError` where they are something else."""
    flat = torch.as_tensor(rewards, dtype=torch.float64).detach().cpu()
    if flat.shape != (count,) or not torch.isfinite(flat).all():
        raise V2ABenchError(
            f"reward {spec} must give {count} finite numbers, one a sound; it gave {tuple(flat.shape)}, "
            f"{int((~torch.isfinite(flat)).sum())} of them not finite"
        )
    return flat
