"""MMAudio as a model: it generates, and opens itself for alignment."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from v2abench import sampling
from v2abench.baselines.mmaudio.codec import CODECS, Codec
from v2abench.baselines.mmaudio.network import MMAudioNetwork, checkpoint_entries
from v2abench.baselines.mmaudio.stored import CLIP, SYNC, StoredConditions
from v2abench.baselines.mmaudio.training import draw, flow_matching_loss
from v2abench.baselines.mmaudio.variants import VARIANTS, Variant
from v2abench.contracts import Generated, ModelInfo, Request
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.features.conditions import ConditionStore
from v2abench.flow import Conditions, Embedded, Sampling
from v2abench.media.audio import Audio
from v2abench.media.resampling import KAISER_BEST, resample
from v2abench.models import ModelContext
from v2abench.weights.checkpoints import read_checkpoint
from v2abench.weights.deterministic import Mode, filled, is_deterministic, weights_mode
from v2abench.weights.fetching import require
from v2abench.weights.registry import identity

LICENSE = "weights CC BY-NC 4.0, code MIT"
SOURCE = "hkchengrex/MMAudio@974010a (arXiv 2412.15322)"


class MMAudio:
    """One variant of MMAudio on a device; a `FlowModel`.

    Network, codec and encoders are each loaded when first needed, and the encoders leave
    memory before the network comes. With a negative prompt, guidance leads away from it
    instead of from the empty text.
    """

    def __init__(self, variant: Variant, context: ModelContext) -> None:
        self.variant = variant
        self.device = context.device
        self.options = context.options
        self.codec = Codec(CODECS[variant.codec], context.device)
        self._extractor = context.extractor
        self._mode: Mode = "deterministic" if is_deterministic() else "official"

    @property
    def info(self) -> ModelInfo:
        """What a table says of the model."""
        return ModelInfo(
            self.variant.name,
            sample_rate=self.codec.config.mel.sample_rate,
            channels=1,
            parameters=self.variant.size,
            license=LICENSE,
            source=SOURCE,
            text_conditioned=True,
        )

    @property
    def recipe(self) -> Mapping[str, bool | int | float | str]:
        """What its sounds depend on beside the request."""
        negative = self.options.negative_prompt
        with weights_mode(self._mode):
            weights = {name: identity(name) for name in self.weights}
        return {
            **sampling.described(self.sampling, self.options),
            **({} if negative is None else {"negative_prompt": negative}),
            **{f"weights {name}": digest for name, digest in weights.items()},
        }

    @property
    def weights(self) -> tuple[str, ...]:
        """The registered checkpoints that generation needs."""
        return (self.variant.weights, *self.codec.config.weights, *CLIP.weights, *SYNC.weights)

    @property
    def sampling(self) -> Sampling:
        """25 steps of Euler with guidance of 4.5, or what the user chose."""
        return sampling.chosen(Sampling(), self.options)

    @cached_property
    def network(self) -> MMAudioNetwork:
        """The flow network, in eval mode and without gradients."""
        with weights_mode(self._mode):
            return load_network(self.variant).to(self.device)

    @cached_property
    def _step(self) -> Callable[[Tensor, Tensor, Embedded], Tensor]:
        return torch.compile(self.network) if self.options.compile else self.network

    @cached_property
    def _conditions(self) -> StoredConditions:
        if self._extractor is None:
            raise V2ABenchError(
                f"--model {self.variant.name} makes its sound when asked; check looks at files: folder:DIR"
            )
        return StoredConditions(ConditionStore(self._extractor))

    @cached_property
    def _negative(self) -> Tensor | None:
        if self.options.negative_prompt is None:
            return None
        with weights_mode(self._mode):
            return self._conditions.text(self.options.negative_prompt).to(self.device)

    def latent_shape(self, seconds: float) -> tuple[int, ...]:
        """(L, C): one place for two hops of the spectrogram."""
        return self.codec.config.length(seconds), self.variant.network.latent_channels

    def encode(self, audio: Sequence[Audio], seconds: float) -> Tensor:
        """Return the means of the autoencoder's posterior, normalised, (B, L, C).

        Channels are averaged, the rate is changed, and the first samples are taken. Raises
        `ClipFault` for a sound that is shorter.
        """
        count = self.codec.config.samples(seconds)
        waveforms = [self._waveform(sound, count) for sound in audio]
        with weights_mode(self._mode):
            return self.network.normalise(self.codec.encode(torch.stack(waveforms)).mean)

    def _waveform(self, audio: Audio, count: int) -> Tensor:
        rate = self.codec.config.mel.sample_rate
        mono = resample(audio.samples.mean(axis=0), audio.sample_rate, rate, KAISER_BEST)
        if len(mono) < count:
            raise ClipFault(
                "too-short", f"{count / rate:.3f} s of sound are needed, there are {len(mono) / rate:.3f}"
            )
        return torch.from_numpy(mono[:count])

    def decode(self, latents: Tensor) -> list[Audio]:
        """Return the sounds, mono, not trimmed: up to a frame longer than was asked for."""
        with weights_mode(self._mode):
            waveforms = self.codec.decode(self.network.unnormalise(latents))
        rate = self.codec.config.mel.sample_rate
        return [Audio(waveform[None].cpu().numpy(), rate) for waveform in waveforms]

    def condition(self, requests: Sequence[Request]) -> list[Conditions | ClipFault]:
        """Return `clip`, `sync` and `text` of each clip, from the store where they are known."""
        with weights_mode(self._mode):
            self._conditions.compute(requests)
            return self._conditions.read(requests)

    def empty(self, conditions: Conditions) -> Conditions:
        """Return the network's learned empty features, with the negative prompt if there is one."""
        return self.network.empty(conditions, self._negative)

    def embed(self, conditions: Conditions) -> Embedded:
        """Return what the network makes of conditions before any step."""
        with sampling.precision(self.options, self.device):
            return self.network.embed(conditions)

    def velocity(self, x_t: Tensor, t: Tensor, embedded: Embedded) -> Tensor:
        """Return the velocity, float32 in any precision."""
        with sampling.precision(self.options, self.device):
            return self._step(x_t, t, embedded).float()

    def training_loss(self, latents: Tensor, conditions: Conditions, generator: torch.Generator) -> Tensor:
        """Return each clip's flow-matching loss, (B,), with times, noise and dropout as in training."""
        with sampling.precision(self.options, self.device):
            return flow_matching_loss(self.network, latents, conditions, draw(latents, generator))

    def generate(self, requests: Sequence[Request]) -> Iterator[Generated]:
        """Yield the sound of each request, in order; all conditions are computed first."""
        with weights_mode(self._mode):
            self._conditions.compute(requests)
            # Also this needs an encoder, which is not to meet the network.
            self._negative  # noqa: B018
        yield from sampling.generate(self, requests, self.device, self.options.batch_size)


@torch.inference_mode(False)
def load_network(variant: Variant) -> MMAudioNetwork:
    """Return a variant's network with its weights, in eval mode on the CPU.

    The checkpoint is mapped and its tensors become the network's: nothing is held twice.
    """
    if is_deterministic():
        return filled(lambda: MMAudioNetwork(variant.network))
    with torch.device("meta"):
        network = MMAudioNetwork(variant.network)
    state = checkpoint_entries(read_checkpoint(require(variant.weights)))
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def open_variant(name: str, argument: str, context: ModelContext) -> MMAudio:
    """Open a variant, and see to it that its checkpoints are there, if it is to generate.

    Raises `V2ABenchError` where they are not to be had.
    """
    if argument:
        raise V2ABenchError(f"--model {name}:{argument}: {name} takes nothing behind a colon")
    model = MMAudio(VARIANTS[name], context)
    if context.extractor is not None and not is_deterministic():
        for weights in model.weights:
            require(weights, offline=context.offline, progress=context.progress)
    return model


def open_small_16k(argument: str, context: ModelContext) -> MMAudio:
    """MMAudio-S, 16 kHz, 157 M parameters (weights CC BY-NC 4.0)."""
    return open_variant("mmaudio-small-16k", argument, context)


def open_small_44k(argument: str, context: ModelContext) -> MMAudio:
    """MMAudio-S, 44.1 kHz, 157 M parameters (weights CC BY-NC 4.0)."""
    return open_variant("mmaudio-small-44k", argument, context)


def open_medium_44k(argument: str, context: ModelContext) -> MMAudio:
    """MMAudio-M, 44.1 kHz, 622 M parameters (weights CC BY-NC 4.0)."""
    return open_variant("mmaudio-medium-44k", argument, context)


def open_large_44k(argument: str, context: ModelContext) -> MMAudio:
    """MMAudio-L, 44.1 kHz, 1030 M parameters, the paper's (weights CC BY-NC 4.0)."""
    return open_variant("mmaudio-large-44k", argument, context)


def open_large_44k_v2(argument: str, context: ModelContext) -> MMAudio:
    """MMAudio-L version 2, 44.1 kHz, 1031 M parameters (weights CC BY-NC 4.0)."""
    return open_variant("mmaudio-large-44k-v2", argument, context)
