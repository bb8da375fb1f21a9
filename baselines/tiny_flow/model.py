"""`tiny-flow` and `tiny-flow:FILE`: the flow model of the embedded world, and `reconstruction`, its bound.

Without a file the shipped weights are taken. It sees the middle square of a video at 25 pictures a
second and reads the prompt if there is one; it was trained on 4 s of `impacts` and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from v2abench import sampling
from v2abench.baselines.tiny_flow import prompts, weights
from v2abench.baselines.tiny_flow.latent import COMPONENTS, SAMPLES_A_TOKEN, TOKENS_A_SECOND
from v2abench.baselines.tiny_flow.network import FlowTransformer
from v2abench.baselines.tiny_flow.spectrogram import SAMPLE_RATE
from v2abench.baselines.tiny_flow.vision import read_pictures
from v2abench.contracts import Generated, ModelInfo, Request
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.files import sha256
from v2abench.flow import Conditions, Embedded, Sampling
from v2abench.media.audio import Audio
from v2abench.media.reading import AudioWindow, read_audio
from v2abench.models import GenerationOptions, ModelContext

SAMPLING = Sampling(steps=8, guidance_scale=2.0, method="euler", shift=3.0)
"""Chosen on the validation split; docs/tiny-flow.md has the table."""

SHORTEST_S = 0.4
LONGEST_S = 16.0
"""Beyond, positions and memory are far from anything that was tried."""


@dataclass(frozen=True)
class TinyFlow:
    """The model with its weights on a device; implements `FlowModel`.

    A condition has `frames` (tokens, 128), `words` (vocabulary,) 0 or 1, and `seen` (1,), which
    is 1, or 0 where nothing is said. A sound never depends on the others of its batch by more
    than 5e-3 of full scale.
    """

    info: ModelInfo
    parts: weights.Parts
    file: Path
    sampling: Sampling = SAMPLING
    device: str = "cpu"
    batch_size: int = 4
    negative_prompt: str | None = None

    @property
    def network(self) -> FlowTransformer:
        """The flow transformer: what is trained."""
        return self.parts.flow

    @cached_property
    def recipe(self) -> Mapping[str, bool | int | float | str]:
        """What its sounds depend on beside the request."""
        chosen = self.sampling
        return {
            "weights_sha256": sha256(self.file),
            "steps": chosen.steps,
            "guidance_scale": chosen.guidance_scale,
            "method": chosen.method,
            "shift": chosen.shift,
            "negative_prompt": self.negative_prompt or "",
            "precision": "float32",
        }

    def latent_shape(self, seconds: float) -> tuple[int, ...]:
        """Return (tokens, 64); a token is 40 ms. Raises `V2ABenchError` for more than 16 s."""
        if seconds > LONGEST_S:
            raise V2ABenchError(
                f"tiny-flow makes at most {LONGEST_S:g} s of sound, not {seconds:g}; "
                "choose a protocol with a shorter window"
            )
        return round(seconds * TOKENS_A_SECOND), COMPONENTS

    def encode(self, audio: Sequence[Audio], seconds: float) -> Tensor:
        """Return the (B, tokens, 64) latents of sounds of any rate, mixed to mono.

        Up to half a token that is missing counts as silence. Raises `ClipFault`, `too-short`,
        where one lacks more.
        """
        samples = self.latent_shape(seconds)[0] * SAMPLES_A_TOKEN
        sounds = torch.stack([_fitted(one, samples) for one in audio])
        return self.parts.latent.encode(sounds.to(self.device))

    def decode(self, latents: Tensor) -> list[Audio]:
        """Return 16 kHz mono sounds."""
        sounds = self.parts.latent.decode(latents.float()).cpu().numpy()
        return [Audio(np.ascontiguousarray(sound[None]), SAMPLE_RATE) for sound in sounds]

    def condition(self, requests: Sequence[Request]) -> list[Conditions | ClipFault]:
        """Return what video encoder and prompt say of each clip; a fault where the video is too short."""
        return [self._condition(request) for request in requests]

    def _condition(self, request: Request) -> Conditions | ClipFault:
        if request.seconds < SHORTEST_S:
            return ClipFault("too-short", f"tiny-flow needs {SHORTEST_S:g} s of video or more")
        try:
            pictures = read_pictures(request.clip.video, self.latent_shape(request.seconds)[0])
        except ClipFault as fault:
            return fault
        # Clip by clip, so that what a clip says never depends on others.
        frames = self.parts.video.features(pictures).float().cpu().clone()
        return {"frames": frames, "words": self._words(request.clip.prompt), "seen": torch.ones(1)}

    def empty(self, conditions: Conditions) -> Conditions:
        """Return conditions that say nothing, or the negative prompt alone."""
        said = self._words(self.negative_prompt).to(conditions["words"].device)
        return {
            "frames": torch.zeros_like(conditions["frames"]),
            "words": said.expand_as(conditions["words"]),
            "seen": torch.zeros_like(conditions["seen"]),
        }

    def embed(self, conditions: Conditions) -> Embedded:
        """Return the conditions after the network's projections."""
        return self.network.embed(conditions)

    def velocity(self, x_t: Tensor, t: Tensor, embedded: Embedded) -> Tensor:
        """Return data - noise at (B, tokens, 64) `x_t` and (B,) `t`."""
        velocity: Tensor = self.network(x_t, t, embedded)
        return velocity

    def generate(self, requests: Sequence[Request]) -> Iterator[Generated]:
        """Yield the sound of each request, from its own seed."""
        yield from sampling.generate(self, requests, self.device, self.batch_size)

    def _words(self, prompt: str | None) -> Tensor:
        return prompts.bag(prompt, self.parts.vocabulary)


@dataclass(frozen=True)
class Reconstruction:
    """The clip's own reference through the model's latent and back: the best that the latent allows."""

    model: TinyFlow
    info: ModelInfo = field(
        default_factory=lambda: ModelInfo(
            "reconstruction", SAMPLE_RATE, channels=1, source="control", control=True
        )
    )

    @property
    def recipe(self) -> Mapping[str, bool | int | float | str]:
        """The latent space, by its file."""
        return {"weights_sha256": sha256(self.model.file)}

    def generate(self, requests: Sequence[Request]) -> Iterator[Generated]:
        """Yield each reference, encoded and decoded; a fault where it cannot be read or is too short."""
        for request in requests:
            try:
                latents = self.model.encode([_reference(request)], request.seconds)
            except ClipFault as fault:
                yield Generated(request.clip.id, fault=fault)
            else:
                yield Generated(request.clip.id, audio=self.model.decode(latents)[0])


def open_tiny_flow(argument: str, context: ModelContext) -> TinyFlow:
    """Open the shipped weights, or those of the file or training folder `argument`.

    Raises `V2ABenchError` for a file that holds none, and for options that tiny-flow does not have.
    """
    options = context.options
    if options.precision != "float32" or options.compile:
        raise V2ABenchError(
            "tiny-flow runs in float32 and is not compiled; "
            "leave precision and compile of the generation's options as they are"
        )
    if min(options.batch_size, SAMPLING.steps if options.steps is None else options.steps) < 1:
        raise V2ABenchError(
            f"tiny-flow cannot sample with steps={options.steps} and batch_size={options.batch_size}; "
            "both are 1 or more"
        )
    file = Path(argument) if argument else weights.SHIPPED
    file = file / "weights.safetensors" if file.is_dir() else file
    parts = weights.load(file, context.device)
    return replace(
        tiny_flow(parts, file),
        sampling=_sampling(options),
        device=context.device,
        batch_size=options.batch_size,
        negative_prompt=options.negative_prompt,
    )


def tiny_flow(parts: weights.Parts, file: Path) -> TinyFlow:
    """Return the model of these parts, on the CPU and with its own sampling; `file` holds them."""
    return TinyFlow(info=_info(parts), parts=parts, file=file)


def open_reconstruction(argument: str, context: ModelContext) -> Reconstruction:
    """Open tiny-flow's latent space, of the shipped weights or of the file or folder `argument`."""
    return Reconstruction(open_tiny_flow(argument, replace(context, options=GenerationOptions())))


def _info(parts: weights.Parts) -> ModelInfo:
    modules = parts.flow, parts.video
    return ModelInfo(
        "tiny-flow",
        SAMPLE_RATE,
        channels=1,
        parameters=sum(p.numel() for module in modules for p in module.parameters()),
        license="MIT",
        source="trained by v2abench on impacts",
        text_conditioned=True,
    )


def _sampling(options: GenerationOptions) -> Sampling:
    return Sampling(
        steps=SAMPLING.steps if options.steps is None else options.steps,
        guidance_scale=SAMPLING.guidance_scale if options.guidance_scale is None else options.guidance_scale,
        method=options.method or SAMPLING.method,
        shift=SAMPLING.shift,
    )


def _reference(request: Request) -> Audio:
    if request.clip.reference is None:
        raise ClipFault("missing", f"clip {request.clip.id} has no reference sound")
    return read_audio(request.clip.reference)


def _fitted(audio: Audio, samples: int) -> Tensor:
    """Return the first `samples` of a sound at 16 kHz in mono."""
    window = AudioWindow.of(audio, samples / SAMPLE_RATE)
    waveform = torch.from_numpy(window.waveform(SAMPLE_RATE, remove_mean=False).copy())
    missing = samples - len(waveform)
    if missing > SAMPLES_A_TOKEN // 2:
        raise ClipFault(
            "too-short", f"{audio.seconds:.2f} s of sound, {samples / SAMPLE_RATE:.2f} s are needed"
        )
    return torch.nn.functional.pad(waveform, (0, max(missing, 0)))
