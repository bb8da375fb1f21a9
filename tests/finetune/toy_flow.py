"""A flow towards a Gaussian with the exact velocity and a small network on top, and pairs of its samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from v2abench.clips import Clip
from v2abench.contracts import Generated, ModelInfo, Request
from v2abench.errors import ClipFault
from v2abench.finetune.pair_data import PairData, prepare_pairs
from v2abench.finetune.preferences.pairs import Pair, read_pairs, write_pairs
from v2abench.flow import Conditions, Embedded, Sampling
from v2abench.media.audio import Audio
from v2abench.sampling import generate, noise_for, sample_latents

SHAPE = (4, 3)
DEVIATION = 0.5
SECONDS = 1.0


def gaussian_velocity(x: Tensor, t: Tensor, mean: Tensor, deviation: float = DEVIATION) -> Tensor:
    """The exact velocity of the flow towards N(mean, deviation²); `t` broadcasts against `x`."""
    variance = (1 - t) ** 2 + (t * deviation) ** 2
    pull = (t * deviation**2 - (1 - t)) / variance
    return mean + pull * (x - t * mean)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(torch.tanh(self.first(x)))


class ToyNetwork(nn.Module):
    """The exact velocity towards N(told, 0.5²), and a correction that is 0 at first."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.tell = nn.Linear(3, 3)
            self.enter = nn.Linear(SHAPE[0] * SHAPE[1] + 4, 16)
            self.blocks = nn.ModuleList(Block() for _ in range(2))
            self.leave = nn.Linear(16, SHAPE[0] * SHAPE[1])
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, t: Tensor, embedded: Embedded) -> Tensor:
        exact = gaussian_velocity(x, t[:, None, None], embedded["mean"][:, None])
        hidden = self.enter(torch.cat([x.flatten(1), t[:, None], embedded["told"]], dim=1))
        for block in self.blocks:
            hidden = block(hidden)
        return exact + self.leave(hidden).unflatten(1, SHAPE)


@dataclass
class ToyFlow:
    """A `FlowModel` whose sounds are its latents; `flip_time` and `flip_sign` declare it wrongly."""

    network: ToyNetwork = field(default_factory=ToyNetwork)
    sampling: Sampling = field(default_factory=lambda: Sampling(steps=8, guidance_scale=0.0))
    info: ModelInfo = field(default_factory=lambda: ModelInfo("toy"))
    recipe: dict[str, object] = field(default_factory=lambda: {"weights": "toy"})
    flip_time: bool = False
    flip_sign: bool = False
    seen: int = 0

    def latent_shape(self, seconds: float) -> tuple[int, ...]:
        return SHAPE

    def encode(self, audio: Sequence[Audio], seconds: float) -> Tensor:
        return torch.stack([torch.from_numpy(np.array(one.samples[0])).reshape(SHAPE) for one in audio])

    def decode(self, latents: Tensor) -> list[Audio]:
        return [Audio(latent.detach().reshape(1, -1).numpy().copy(), 16000) for latent in latents]

    def condition(self, requests: Sequence[Request]) -> list[Conditions | ClipFault]:
        self.seen += len(requests)
        return [
            ClipFault("no-video", "dark")
            if r.clip.id == "dark"
            else {"told": torch.tensor([1.0, -1.0, 0.5]) * (1 + len(r.clip.id) % 3)}
            for r in requests
        ]

    def empty(self, conditions: Conditions) -> Conditions:
        return {"told": torch.zeros_like(conditions["told"])}

    def embed(self, conditions: Conditions) -> Embedded:
        return {"told": self.network.tell(conditions["told"]), "mean": conditions["told"]}

    def velocity(self, x_t: Tensor, t: Tensor, embedded: Embedded) -> Tensor:
        found: Tensor = self.network(x_t, 1 - t if self.flip_time else t, embedded)
        return -found if self.flip_sign else found

    def generate(self, requests: Sequence[Request]) -> Iterator[Generated]:
        yield from generate(self, requests, "cpu", 8)


def told(model: ToyFlow, clip_id: str) -> Tensor:
    given = model.condition([Request(Clip(clip_id, Path("x.mp4")), SECONDS, 0)])[0]
    assert not isinstance(given, ClipFault)
    return given["told"]


def write_toy_pairs(folder: Path, clips: int = 16, samples: int = 4) -> Path:
    """Samples of the flow, and pairs in which the larger mean of the first channel wins."""
    model, pairs = ToyFlow(), []
    for number in range(clips):
        clip = f"clip{'x' * (number % 3)}{number}"
        conditions = {"told": told(model, clip).expand(samples, -1)}
        noise = torch.stack([noise_for(1000 * number + k, SHAPE) for k in range(samples)])
        latents = sample_latents(model, conditions, noise).clone().half()
        place = folder / "latents" / f"{clip}.safetensors"
        place.parent.mkdir(parents=True, exist_ok=True)
        save_file({str(k): latents[k].clone() for k in range(samples)}, place)
        value = latents[:, :, 0].float().mean(1)
        best, worst = int(value.argmax()), int(value.argmin())
        gap = float(torch.tanh(value[best] - value[worst]))
        pairs.append(
            Pair(
                clip=clip,
                prompt=None,
                video=str(folder / f"{clip}.mp4"),
                source="auto",
                complexity=gap,
                samples=".",
                winner=f"{clip}#{best}",
                loser=f"{clip}#{worst}",
                winner_audio=f"audio/{clip}/{best}.wav",
                loser_audio=f"audio/{clip}/{worst}.wav",
                winner_hash=f"{clip}{best}",
                loser_hash=f"{clip}{worst}",
                winner_seed=1000 * number + best,
                loser_seed=1000 * number + worst,
                winner_latent=f"latents/{clip}.safetensors#{best}",
                loser_latent=f"latents/{clip}.safetensors#{worst}",
            )
        )
    write_pairs(folder / "pairs.parquet", pairs, {"rule": "toy"})
    return folder / "pairs.parquet"


def toy_data(folder: Path, model: ToyFlow | None = None, clips: int = 16) -> PairData:
    """The pairs, ready for training."""
    path = folder / "pairs.parquet"
    if not path.is_file():
        write_toy_pairs(folder, clips)
    return prepare_pairs(
        model or ToyFlow(), read_pairs(path), folder / "prepared", seconds=SECONDS, fingerprint="toy"
    )


def first_channel(clips: Sequence[Clip], sounds: Sequence[Audio]) -> Tensor:
    """A reward: the mean of the latent's first channel."""
    values = [float(sound.samples[0].reshape(SHAPE)[:, 0].mean()) for sound in sounds]
    assert len(values) == len(clips)
    return torch.tensor(values)
