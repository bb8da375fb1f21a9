"""From Frieren's checkpoints to its parts: each takes its own entries, and none may be left over.

A checkpoint is a Lightning one or a bare state dict, with the trained network, the
autoencoder under `first_stage_model.`, and buffers of a diffusion process that nobody
uses. It is mapped: of parts that are not wanted nothing is read.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from v2abench.errors import V2ABenchError
from v2abench.weights.checkpoints import read_checkpoint
from v2abench.weights.fetching import require

Part = Literal["network", "encoder", "decoder"]

SEPARATE_AUTOENCODER = "frieren_vae"
"""What is taken where a checkpoint has no autoencoder."""

UNUSED = frozenset(
    {
        "betas",
        "alphas_cumprod",
        "alphas_cumprod_prev",
        "sqrt_alphas_cumprod",
        "sqrt_one_minus_alphas_cumprod",
        "log_one_minus_alphas_cumprod",
        "sqrt_recip_alphas_cumprod",
        "sqrt_recipm1_alphas_cumprod",
        "posterior_variance",
        "posterior_log_variance_clipped",
        "posterior_mean_coef1",
        "posterior_mean_coef2",
    }
)
"""Buffers of the diffusion process from which upstream's class descends."""

_AUTOENCODER = "first_stage_model."
_PREFIXES: Mapping[Part, tuple[str, ...]] = {
    "network": ("model.diffusion_model.", "cond_stage_model."),
    "encoder": (f"{_AUTOENCODER}encoder.", f"{_AUTOENCODER}quant_conv."),
    "decoder": (f"{_AUTOENCODER}decoder.", f"{_AUTOENCODER}post_quant_conv."),
}
_DISCRIMINATOR = f"{_AUTOENCODER}loss."
_TELLING = "model.diffusion_model.x_proj.weight"
_SHOWN = 3

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def load_part(part: Part, make: Callable[[], ModuleT], checkpoint: Path) -> ModuleT:
    """Return one part of a Frieren checkpoint, in eval mode on the CPU.

    An autoencoder inside of the checkpoint comes before the separate one, as upstream.
    Raises `V2ABenchError` where the file is another one, or where entries are missing or
    left over.
    """
    state = _state(checkpoint)
    if part != "network" and not any(name.startswith(_AUTOENCODER) for name in state):
        checkpoint = require(SEPARATE_AUTOENCODER)
        state = {f"{_AUTOENCODER}{name}": tensor for name, tensor in _state(checkpoint).items()}
    else:
        _refuse_other_models(state, checkpoint)
    _refuse_left_over(state, checkpoint)
    mine = {
        name.removeprefix(_AUTOENCODER): tensor.float()
        for name, tensor in state.items()
        if name.startswith(_PREFIXES[part])
    }
    with torch.device("meta"):
        module = make()
    try:
        module.load_state_dict(mine, strict=True, assign=True)
    except RuntimeError as error:
        raise V2ABenchError(f"{checkpoint} does not fit Frieren's {part}: {error}") from error
    return module.eval().requires_grad_(False)


def _state(checkpoint: Path) -> dict[str, Tensor]:
    loaded = read_checkpoint(checkpoint)
    state: dict[str, Tensor] = loaded.get("state_dict", loaded)
    return state


def _refuse_other_models(state: Mapping[str, Tensor], checkpoint: Path) -> None:
    if _TELLING in state:
        return
    told = "it has no entry of Frieren's vector field"
    if any(name.startswith("model.diffusion_model.") for name in state):
        told = "it holds another diffusion model, perhaps Diff-Foley's (ldm_epoch240.ckpt)"
    raise V2ABenchError(
        f"{checkpoint} is not a checkpoint of Frieren: {told}; "
        "install the right one with `v2abench weights pull NAME --file FILE`"
    )


def _refuse_left_over(state: Mapping[str, Tensor], checkpoint: Path) -> None:
    known = tuple(prefix for prefixes in _PREFIXES.values() for prefix in prefixes)
    extra = [name for name in state if name not in UNUSED and not name.startswith((*known, _DISCRIMINATOR))]
    if extra:
        raise V2ABenchError(
            f"{checkpoint} has {len(extra)} entries that Frieren does not have, e.g. "
            f"{', '.join(extra[:_SHOWN])}: what they would change is unknown, so it is not used"
        )
