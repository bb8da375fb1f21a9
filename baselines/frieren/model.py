"""`frieren`, `frieren-reflow` and `frieren-distilled`: Frieren as a flow model.

A latent stands for 8.192 s of sound, always; 32 rows of CAVP, from 8 s of video, tell
of it. As upstream, the rows are laid out a little slower than they were filmed (0.256 s
instead of 0.25 s each), for it was so in training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from v2abench import sampling
from v2abench.baselines.frieren import autoencoder, estimator
from v2abench.baselines.frieren.autoencoder import SCALE, AutoencoderSize, MelDecoder, MelEncoder
from v2abench.baselines.frieren.checkpoint import Part, load_part
from v2abench.baselines.frieren.estimator import FRAMES_PER_ROW, EstimatorSize, FlowNetwork
from v2abench.baselines.frieren.loss import STEPS, training_loss
from v2abench.baselines.vocoders.bigvgan import (
    BIGVGAN_16K,
    BigVGAN,
    BigVGANConfig,
    deterministic_bigvgan,
    load_bigvgan,
)
from v2abench.baselines.vocoders.mel import MEL_16K, log_mel
from v2abench.contracts import Generated, ModelInfo, Request
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.features.conditions import ConditionStore
from v2abench.features.extraction import Content
from v2abench.features.store import Record
from v2abench.flow import Conditions, Embedded, Sampling
from v2abench.media.audio import Audio
from v2abench.media.resampling import resample
from v2abench.models import GenerationOptions, ModelContext
from v2abench.networks.cavp import CAVP
from v2abench.protocols.schema import Window
from v2abench.weights.checkpoints import read_checkpoint
from v2abench.weights.deterministic import Mode, filled, is_deterministic, weights_mode
from v2abench.weights.fetching import require
from v2abench.weights.registry import identity

ROWS = 32
FRAMES = ROWS * FRAMES_PER_ROW
MEL_FRAMES = 2 * FRAMES
SAMPLE_RATE = MEL_16K.sample_rate
SAMPLES = MEL_FRAMES * MEL_16K.hop
SECONDS = SAMPLES / SAMPLE_RATE
CONDITION_SECONDS = 10.0
"""What upstream cuts from a video, and encodes as one."""
VOCODER_WEIGHTS = "bigvgan_16k"

_CAVP = CAVP()
_TOLERANCE_SECONDS = 0.1
_LEAST_SAMPLES = 1024
_SOURCE = "https://github.com/cyanbx/Frieren-V2A"
_LICENSE = "Apache-2.0 (the code; none is named for the weights)"

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@dataclass(frozen=True)
class Variant:
    """A checkpoint, and in how many steps it is sampled unless told otherwise."""

    name: str
    weights: str
    steps: int


FRIEREN = Variant("frieren", "frieren", steps=25)
REFLOW = Variant("frieren-reflow", "frieren_reflow", steps=25)
DISTILLED = Variant("frieren-distilled", "frieren_distilled", steps=1)


@dataclass(frozen=True)
class Architecture:
    """The sizes of the parts; upstream has one of each."""

    estimator: EstimatorSize = estimator.OFFICIAL
    autoencoder: AutoencoderSize = autoencoder.OFFICIAL
    vocoder: BigVGANConfig = BIGVGAN_16K


OFFICIAL = Architecture()


def open_frieren(argument: str, context: ModelContext) -> Frieren:
    """Frieren without reflow, in 25 steps."""
    return _open(FRIEREN, argument, context)


def open_reflow(argument: str, context: ModelContext) -> Frieren:
    """Frieren after reflow, in 25 steps; it is made for fewer."""
    return _open(REFLOW, argument, context)


def open_distilled(argument: str, context: ModelContext) -> Frieren:
    """Frieren after reflow and distillation, in one step."""
    return _open(DISTILLED, argument, context)


def _open(variant: Variant, argument: str, context: ModelContext) -> Frieren:
    if argument:
        raise V2ABenchError(f"--model {variant.name}:{argument}: {variant.name} takes nothing behind a colon")
    if context.options.negative_prompt is not None:
        raise V2ABenchError(f"--negative-prompt: {variant.name} is not told of text; leave it out")
    model = Frieren(variant, context, OFFICIAL)
    if context.extractor is not None and not is_deterministic():
        for name in model.weights:
            require(name, offline=context.offline, progress=context.progress)
    return model


class Frieren:
    """A flow model over (20, 256) latents; each part is loaded when it is first used.

    `velocity` rounds times to thousandths, which is what the network was trained on.
    (Upstream truncates them in float32, which in 25 steps gives 199, 359 and 399 for 200,
    360 and 400.)
    """

    def __init__(self, variant: Variant, context: ModelContext, architecture: Architecture) -> None:
        self.variant = variant
        self.device = context.device
        self.options: GenerationOptions = context.options
        self._architecture = architecture
        self._mode: Mode = "deterministic" if is_deterministic() else "official"
        self._extractor = context.extractor

    @property
    def info(self) -> ModelInfo:
        """What a table says of it."""
        with torch.device("meta"):
            network = FlowNetwork(self._architecture.estimator)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        return ModelInfo(self.variant.name, SAMPLE_RATE, 1, parameters, _LICENSE, _SOURCE)

    @property
    def sampling(self) -> Sampling:
        """The variant's own, but for what the user chose."""
        return sampling.chosen(Sampling(steps=self.variant.steps), self.options)

    @property
    def recipe(self) -> Mapping[str, bool | int | float | str]:
        """What its sounds depend on beside the request."""
        with weights_mode(self._mode):
            weights = {f"weights {name}": identity(name) for name in self.weights}
        return {
            **sampling.described(self.sampling, self.options),
            **weights,
            "times": "rounded to thousandths",
            "videos under 8 s": "their rows are repeated",
        }

    @property
    def weights(self) -> tuple[str, ...]:
        """The registered checkpoints that generation needs."""
        return self.variant.weights, *CAVP.weights, VOCODER_WEIGHTS

    @cached_property
    def network(self) -> FlowNetwork:
        """The vector field with the projection of the rows."""
        return self._load("network", lambda: FlowNetwork(self._architecture.estimator))

    @cached_property
    def _encoder(self) -> MelEncoder:
        return self._load("encoder", lambda: MelEncoder(self._architecture.autoencoder))

    @cached_property
    def _decoder(self) -> MelDecoder:
        return self._load("decoder", lambda: MelDecoder(self._architecture.autoencoder))

    @cached_property
    def _vocoder(self) -> BigVGAN:
        config = self._architecture.vocoder
        if self._mode == "deterministic":
            return deterministic_bigvgan(config).to(self.device)
        generator = read_checkpoint(require(VOCODER_WEIGHTS))["generator"]
        return load_bigvgan(config, generator).to(self.device)

    @cached_property
    def _field(self) -> Callable[..., Tensor]:
        return torch.compile(self.network) if self.options.compile else self.network

    @torch.inference_mode(False)
    def _load(self, part: Part, make: Callable[[], ModuleT]) -> ModuleT:
        if self._mode == "deterministic":
            return filled(make).to(self.device)
        return load_part(part, make, require(self.variant.weights)).to(self.device)

    def latent_shape(self, seconds: float) -> tuple[int, ...]:  # noqa: ARG002 (there is one length)
        """(20, 256), whatever the clip's seconds: it stands for 8.192 s."""
        return self._architecture.estimator.channels, FRAMES

    @torch.no_grad()
    def encode(self, audio: Sequence[Audio], seconds: float) -> Tensor:
        """Return the (B, 20, 256) latents of the first 8.192 s: the posterior's means, scaled.

        Where less is there, its spectrogram is repeated, as in upstream's training. Raises
        `ClipFault` where it is more than 0.1 s shorter than `seconds` (or 8.192 s).
        """
        mels = torch.cat(
            [_repeated(log_mel(_waveform(sound, seconds), MEL_16K), MEL_FRAMES) for sound in audio]
        )
        mean, _ = self._encoder(mels.to(self.device))
        latents: Tensor = SCALE * mean
        return latents

    @torch.no_grad()
    def decode(self, latents: Tensor) -> list[Audio]:
        """Return 8.192 s of sound, 16 kHz mono, for each of (B, 20, 256) latents."""
        # One by one, so that memory does not grow with the batch.
        mels = [self._decoder(latent[None] / SCALE) for latent in latents]
        waveforms = [self._vocoder(mel)[0].cpu().numpy() for mel in mels]
        return [Audio(np.ascontiguousarray(waveform), SAMPLE_RATE) for waveform in waveforms]

    def condition(self, requests: Sequence[Request]) -> list[Conditions | ClipFault]:
        """Return `rows` (32, 512), CAVP's of the first 8 s of each video.

        Those of a shorter video are repeated, as in upstream's training.
        """
        with weights_mode(self._mode):
            found = self._compute_conditions(requests)
            records = self._conditions.read(_CAVP, [item for item in found if isinstance(item, Content)])
        return [item if isinstance(item, ClipFault) else _told(records[item.hash]) for item in found]

    @cached_property
    def _conditions(self) -> ConditionStore:
        if self._extractor is None:
            raise V2ABenchError(
                f"--model {self.variant.name} makes its sound when asked; check looks at files: folder:DIR"
            )
        return ConditionStore(replace(self._extractor, window=Window(seconds=CONDITION_SECONDS)))

    def _compute_conditions(self, requests: Sequence[Request]) -> list[Content | ClipFault]:
        """Compute and store what is missing; the video of each request, or why there is none."""
        found = self._conditions.videos([request.clip for request in requests])
        with weights_mode(self._mode):
            present = [item for item in found if isinstance(item, Content)]
            self._conditions.compute({_CAVP: present}, "read pictures for Frieren")
        return found

    def empty(self, conditions: Conditions) -> Conditions:
        """Return rows of zeros."""
        return {name: torch.zeros_like(given) for name, given in conditions.items()}

    def embed(self, conditions: Conditions) -> Embedded:
        """Return the condition of each latent frame."""
        with sampling.precision(self.options, self.device):
            return {"frames": self.network.embed(conditions["rows"])}

    def velocity(self, x_t: Tensor, t: Tensor, embedded: Embedded) -> Tensor:
        """Return the velocity at (B, 20, 256) `x_t` and (B,) times, rounded to thousandths."""
        steps = torch.round(STEPS * t).clamp(max=STEPS - 1)
        with sampling.precision(self.options, self.device):
            velocity: Tensor = self._field(x_t, steps, embedded["frames"])
        return velocity.float()

    def training_loss(self, latents: Tensor, conditions: Conditions, generator: torch.Generator) -> Tensor:
        """Return each clip's loss, (B,), with times, noise and dropout as the base model was trained."""
        return training_loss(self, latents, conditions, generator)

    def generate(self, requests: Sequence[Request]) -> Iterator[Generated]:
        """Yield the sound of each request, cut to its seconds; 8.192 s where more are wanted.

        The conditions of all clips are computed first, so that their encoder is gone
        before the flow network comes.
        """
        self._compute_conditions(requests)
        answers = sampling.generate(self, requests, self.device, self.options.batch_size)
        for request, answer in zip(requests, answers, strict=True):
            yield (
                answer if answer.audio is None else replace(answer, audio=_cut(answer.audio, request.seconds))
            )


def _told(record: Record) -> Conditions | ClipFault:
    if record.fault is not None:
        return record.fault
    return {"rows": _repeated(torch.tensor(record.features["rows"]).T, ROWS).T.contiguous()}


def _repeated(sequence: Tensor, count: int) -> Tensor:
    """The first `count` steps along the last axis, from the start again where there are fewer."""
    return sequence[..., torch.arange(count) % sequence.shape[-1]]


def _waveform(audio: Audio, seconds: float) -> Tensor:
    """At most 8.192 s in mono at 16 kHz, (1, n)."""
    samples = resample(audio.samples.mean(axis=0, keepdims=True), audio.sample_rate, SAMPLE_RATE)
    wanted = min(seconds, SECONDS)
    if samples.shape[1] < max(SAMPLE_RATE * (wanted - _TOLERANCE_SECONDS), _LEAST_SAMPLES):
        raise ClipFault("too-short", f"{audio.seconds:.2f} s of sound, where {wanted:g} s are to be encoded")
    return torch.from_numpy(samples[:, :SAMPLES])


def _cut(audio: Audio, seconds: float) -> Audio:
    return Audio(audio.samples[:, : round(seconds * audio.sample_rate)], audio.sample_rate)
