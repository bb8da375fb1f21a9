"""Loading of single parts of Synchformer from its one checkpoint."""

from collections.abc import Mapping

import torch
from torch import nn

from v2abench.weights.deterministic import deterministic_state, is_deterministic
from v2abench.weights.fetching import require

WEIGHTS = "synchformer"


def load_weights(parts: Mapping[str, nn.Module]) -> None:
    """Load the official weights into `parts`, in place and strictly, and set them to eval mode.

    `parts` maps top-level names of the checkpoint (`vfeat_extractor`) to modules. Raises
    `V2ABenchError` where the checkpoint is not to be had, `RuntimeError` where its
    entries of those names are not exactly the modules'.
    """
    module = nn.ModuleDict(parts)
    if is_deterministic():
        module.load_state_dict(deterministic_state(module.state_dict()))
    else:
        state = torch.load(require(WEIGHTS), map_location="cpu", weights_only=True, mmap=True)
        module.load_state_dict({name: state[name] for name in state if name.partition(".")[0] in parts})
    module.eval().requires_grad_(False)
