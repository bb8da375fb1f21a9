"""`aligned:DIR`, or the folder alone: a flow model with the weights that `v2abench finetune` gave it.

The folder has `aligned.json`, which names the base model, and either `weights.safetensors`, the whole
state of the base's network, or `adapter/` in PEFT's format, which is folded in when it is opened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from v2abench.contracts import Generated, ModelInfo, Request
from v2abench.errors import ClipFault, UnavailableError, V2ABenchError
from v2abench.files import sha256
from v2abench.flow import Conditions, Embedded, FlowModel, Sampling
from v2abench.media.audio import Audio
from v2abench.models import ALIGNED_CARD, ModelContext, open_model

FORMAT = "v2abench aligned 1"
WEIGHTS = "weights.safetensors"
ADAPTER = "adapter"


@dataclass(frozen=True)
class AlignedModel:
    """A base model whose network has other weights; implements `FlowModel`."""

    base: FlowModel
    info: ModelInfo
    recipe: Mapping[str, Any]

    @property
    def network(self) -> nn.Module:
        """The base's network, with the aligned weights."""
        return self.base.network

    @property
    def sampling(self) -> Sampling:
        """The base's sampling; the guidance is that of the card unless the user chose."""
        return self.base.sampling

    def latent_shape(self, seconds: float) -> tuple[int, ...]:
        """Return the base's."""
        return self.base.latent_shape(seconds)

    def encode(self, audio: Sequence[Audio], seconds: float) -> Tensor:
        """Encode as the base does."""
        return self.base.encode(audio, seconds)

    def decode(self, latents: Tensor) -> list[Audio]:
        """Decode as the base does."""
        return self.base.decode(latents)

    def condition(self, requests: Sequence[Request]) -> list[Conditions | ClipFault]:
        """Ask the base's frozen encoders."""
        return self.base.condition(requests)

    def empty(self, conditions: Conditions) -> Conditions:
        """Return the base's empty conditions."""
        return self.base.empty(conditions)

    def embed(self, conditions: Conditions) -> Embedded:
        """Embed with the aligned weights."""
        return self.base.embed(conditions)

    def velocity(self, x_t: Tensor, t: Tensor, embedded: Embedded) -> Tensor:
        """Return the velocity of the aligned network."""
        return self.base.velocity(x_t, t, embedded)

    def generate(self, requests: Sequence[Request]) -> Iterator[Generated]:
        """Generate as the base does, with the aligned weights."""
        yield from self.base.generate(requests)


def open_aligned(argument: str, context: ModelContext) -> AlignedModel:
    """Open the folder `argument`; raises `V2ABenchError` where it is no aligned model of its base."""
    folder = Path(argument)
    card = read_card(folder)
    options = context.options
    if options.guidance_scale is None and card.get("guidance_scale") is not None:
        options = replace(options, guidance_scale=card["guidance_scale"])
    named = open_model(card["base"]["spec"], replace(context, options=options))
    _require_base(folder, card, named.model.recipe)
    base = cast(FlowModel, named.model)
    file = folder / ADAPTER / "adapter_model.safetensors" if _is_adapter(folder) else folder / WEIGHTS
    _load(base.network, folder)
    base.network.eval().requires_grad_(False)
    return AlignedModel(
        base,
        replace(named.info, name=card["name"], source=f"{named.info.name} aligned by {card['method']}"),
        {**base.recipe, "aligned_sha256": sha256(file)},
    )


def read_card(folder: Path) -> dict[str, Any]:
    """Return the card of an aligned model; raises `V2ABenchError` where the folder has none."""
    path = folder / ALIGNED_CARD
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise V2ABenchError(
            f"{folder} is no aligned model: it has no {ALIGNED_CARD}; name the folder that "
            "`v2abench finetune` wrote, and let it end first"
        ) from error
    except (OSError, ValueError) as error:
        raise V2ABenchError(f"{path} does not read ({error}); train anew, or restore it") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise V2ABenchError(f"{path} is not a card of {FORMAT!r}; train anew with this version")
    return card


def _require_base(folder: Path, card: Mapping[str, Any], recipe: Mapping[str, Any]) -> None:
    """Refuse a base with other weights than those that were aligned."""
    known = card["base"]["recipe"]
    other = [key for key in known if key.startswith(("weights", "aligned")) and known[key] != recipe.get(key)]
    if other:
        raise V2ABenchError(
            f"{folder} was aligned upon other weights of {card['base']['spec']} ({', '.join(other)} differ); "
            "use the version of v2abench, or the checkpoint, that it was trained with"
        )


def _is_adapter(folder: Path) -> bool:
    return not (folder / WEIGHTS).is_file()


def _load(network: nn.Module, folder: Path) -> None:
    if _is_adapter(folder):
        _fold_in(network, folder / ADAPTER)
        return
    try:
        network.load_state_dict(load_file(folder / WEIGHTS), strict=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise V2ABenchError(f"{folder / WEIGHTS} does not fit the base's network: {first}") from error


def _fold_in(network: nn.Module, folder: Path) -> None:
    """Add an adapter to the network's weights, in place."""
    try:
        import peft  # noqa: PLC0415 (an extra, and slow to import)
    except ImportError as error:
        raise UnavailableError(
            f"{folder} is an adapter, which needs the package peft; run `pip install v2abench[finetune]`, or "
            "merge it with `v2abench finetune merge`"
        ) from error
    try:
        peft.PeftModel.from_pretrained(network, str(folder)).merge_and_unload()
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        first = str(error).splitlines()[0]
        raise V2ABenchError(f"{folder} does not fit the base's network: {first}") from error
