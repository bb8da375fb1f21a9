"""From rewards to advantages: by how much a sample is better than others.

- `group`: against the other samples of its video, by their deviation (GRPO).
- `global`: against the other samples of its video, by the deviation of all (Flow-GRPO, PrismAudio).
- `batch`: against all samples.
- `dance`: as `group`, with the sample deviation (DanceGRPO).
- `PromptStatistics`: against the last samples of the same video in any rollout (DDPO).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from v2abench.errors import V2ABenchError

Scaling = Literal["group", "global", "batch", "dance"]


def advantages(rewards: Tensor, scaling: Scaling) -> Tensor:
    """Return the (videos, samples) advantages of (videos, samples) `rewards`."""
    if not torch.isfinite(rewards).all():
        raise V2ABenchError("a reward is not finite; look at the samples in the rollout's log")
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    match scaling:
        case "group":
            return centred / (rewards.std(dim=1, keepdim=True, correction=0) + 1e-4)
        case "global":
            return centred / (rewards.std(correction=0) + 1e-4)
        case "batch":
            return (rewards - rewards.mean()) / (rewards.std(correction=0) + 1e-4)
        case "dance":
            return centred / (rewards.std(dim=1, keepdim=True, correction=1) + 1e-8)


class PromptStatistics:
    """DDPO's running statistics: the last `buffer_size` rewards of every video.

    Where a video has fewer than `min_count`, mean and deviation of the whole rollout stand in: with
    videos that hardly recur, that is always so (`fallback_share` says how often). Black et al.,
    "Training Diffusion Models with Reinforcement Learning", 2023.
    """

    def __init__(self, buffer_size: int = 32, min_count: int = 16) -> None:
        self.buffer_size = buffer_size
        self.min_count = min_count
        self.buffers: dict[str, list[float]] = {}
        self.fallback_share = 0.0

    def advantages(self, videos: Sequence[str], rewards: Tensor) -> Tensor:
        """Add the (n,) `rewards` of `videos`, one a sample, and return the (n,) advantages."""
        result = torch.empty_like(rewards)
        fallen = 0
        for video in dict.fromkeys(videos):
            rows = torch.tensor([i for i, name in enumerate(videos) if name == video])
            buffer = [*self.buffers.get(video, ()), *rewards[rows].tolist()][-self.buffer_size :]
            self.buffers[video] = buffer
            enough = len(buffer) >= self.min_count
            fallen += 0 if enough else len(rows)
            known = torch.tensor(buffer, dtype=rewards.dtype) if enough else rewards
            result[rows] = (rewards[rows] - known.mean()) / (known.std(correction=0) + 1e-6)
        self.fallback_share = fallen / len(videos)
        return result

    def state(self) -> dict[str, list[float]]:
        """Return what a checkpoint needs."""
        return dict(self.buffers)

    def restore(self, state: Mapping[str, Sequence[float]]) -> None:
        """Take up the buffers of a checkpoint."""
        self.buffers = {video: list(values) for video, values in state.items()}
