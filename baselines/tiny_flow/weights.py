"""All that tiny-flow has learnt, in one safetensors file: latent space, video encoder, flow, vocabulary."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from v2abench.baselines.tiny_flow.latent import LatentSpace
from v2abench.baselines.tiny_flow.network import FlowTransformer
from v2abench.baselines.tiny_flow.vision import VideoEncoder
from v2abench.errors import V2ABenchError
from v2abench.files import atomic

SHIPPED = Path(__file__).parent / "weights.safetensors"
FORMAT = "tiny-flow 1"


@dataclass(frozen=True)
class Parts:
    """The modules, in eval mode, and the words that prompts may use."""

    latent: LatentSpace
    video: VideoEncoder
    flow: FlowTransformer
    vocabulary: tuple[str, ...]

    def modules(self) -> dict[str, nn.Module]:
        """Return the modules by the prefix of their entries."""
        return {"latent": self.latent, "video": self.video, "flow": self.flow}


def save(parts: Parts, path: Path) -> None:
    """Write the weights atomically, networks in half precision, the latent space in single."""
    tensors = {
        f"{prefix}.{name}": _stored(prefix, entry)
        for prefix, module in parts.modules().items()
        for name, entry in module.state_dict().items()
    }
    # One entry: the order of several in the file is random, and files would differ.
    metadata = {"tiny_flow": json.dumps({"format": FORMAT, "vocabulary": parts.vocabulary})}
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata)


def load(path: Path, device: str = "cpu") -> Parts:
    """Read weights onto `device`, float32; raises `V2ABenchError` where the file is none of tiny-flow's."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get("tiny_flow", "{}"))
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        raise V2ABenchError(f"{path}: cannot read weights of tiny-flow ({error}); train them anew") from error
    if metadata.get("format") != FORMAT:
        raise V2ABenchError(
            f"{path} holds no weights of {FORMAT!r}; name what `impacts train tiny-flow` wrote"
        )
    words = tuple(metadata["vocabulary"])
    parts = Parts(LatentSpace(), VideoEncoder(), FlowTransformer(len(words)), words)
    for prefix, module in parts.modules().items():
        start = f"{prefix}."
        state = {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}
        module.load_state_dict(state, strict=True)
        module.to(device).eval().requires_grad_(False)
    return parts


def _stored(prefix: str, entry: Tensor) -> Tensor:
    return entry.to(torch.float32 if prefix == "latent" else torch.float16).contiguous()
