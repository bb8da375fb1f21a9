"""How right tiny-flow's sounds are: the oracle's grades at the model's own sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from v2abench.baselines.tiny_flow.model import TinyFlow
from v2abench.flow import Conditions
from v2abench.impacts.oracle import answer_of, grade
from v2abench.impacts.scenes import SECONDS, Scene
from v2abench.models import clip_seed
from v2abench.progress import Progress, silent
from v2abench.sampling import noise_for, sample_latents


def graded(
    model: TinyFlow,
    scenes: Sequence[Scene],
    conditions: Callable[[Tensor], Conditions],
    progress: Progress = silent,
) -> dict[str, float]:
    """Return the mean grades of one sound for each scene, from seed 0 and the scene's id.

    `conditions` gives the batched conditions of the scenes with these indices.
    """
    shape = model.latent_shape(SECONDS)
    grades = []
    with progress("grade tiny-flow", len(scenes)) as advance:
        for part in torch.split(torch.arange(len(scenes)), model.batch_size):
            chosen = [scenes[index] for index in part.tolist()]
            noise = torch.stack([noise_for(clip_seed(0, scene.id), shape) for scene in chosen])
            sounds = model.decode(sample_latents(model, conditions(part), noise))
            grades += [grade(answer_of(scene), sound) for scene, sound in zip(chosen, sounds, strict=True)]
            advance(len(part))
    rows = [(one.f1, one.right_material, abs(one.level_error_db)) for one in grades]
    names = ("onset_f1", "right_material", "level_error_db")
    return {name: round(float(mean), 4) for name, mean in zip(names, np.mean(rows, axis=0), strict=True)}
