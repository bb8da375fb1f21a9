"""Named tensors by key on disk: conditions and the like, computed once and read at every step.

A folder of safetensors parts and `index.json`, which says in which part and under which row a key
lies. Parts are written before the index names them, so a run that was killed goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from v2abench.errors import V2ABenchError
from v2abench.files import atomic, write_text

Named = Mapping[str, Tensor]

INDEX = "index.json"


class TensorStore:
    """The store in `folder`. Floating-point tensors are kept as `dtype` and come back in float32.

    `fingerprint` names what they depend on: a folder of another one is refused.
    """

    def __init__(self, folder: Path, fingerprint: str, dtype: torch.dtype = torch.float16) -> None:
        self.folder, self.fingerprint, self.dtype = folder, fingerprint, dtype
        self._places: dict[str, tuple[int, int]] = {}
        self._parts = 0
        if (folder / INDEX).is_file():
            self._restore(json.loads((folder / INDEX).read_text(encoding="utf-8")))

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return the keys that are not stored, each once and in order."""
        return [key for key in dict.fromkeys(keys) if key not in self._places]

    def add(self, items: Mapping[str, Named]) -> None:
        """Store the tensors of new keys as one part."""
        if not items:
            return
        tensors = {
            f"{row}/{name}": self._stored(tensor)
            for row, named in enumerate(items.values())
            for name, tensor in named.items()
        }
        with atomic(self._part(self._parts)) as temporary:
            save_file(tensors, temporary)
        self._places |= {key: (self._parts, row) for row, key in enumerate(items)}
        self._parts += 1
        index = {"fingerprint": self.fingerprint, "parts": self._parts, "places": self._places}
        write_text(self.folder / INDEX, json.dumps(index) + "\n")

    def read(self, key: str) -> dict[str, Tensor]:
        """Return the tensors of a stored key."""
        part, row = self._places[key]
        file = opened(self._part(part))
        prefix = f"{row}/"
        named = {name: file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118
        return {
            name.removeprefix(prefix): tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in named.items()
        }

    def stack(self, keys: Sequence[str]) -> dict[str, Tensor]:
        """Return the tensors of several keys as one batch; they must have one shape."""
        read = [self.read(key) for key in keys]
        return {name: torch.stack([one[name] for one in read]) for name in read[0]}

    def _stored(self, tensor: Tensor) -> Tensor:
        kept = tensor.detach().cpu()
        return (kept.to(self.dtype) if kept.is_floating_point() else kept).clone().contiguous()

    def _part(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}.safetensors"

    def _restore(self, index: Mapping[str, Any]) -> None:
        if index["fingerprint"] != self.fingerprint:
            raise V2ABenchError(
                f"{self.folder} holds tensors of another model or other data; choose another --output, or "
                "delete it"
            )
        self._parts = index["parts"]
        self._places = {key: (part, row) for key, (part, row) in index["places"].items()}


@lru_cache(maxsize=64)
def opened(path: Path) -> Any:
    """Return a safetensors file, mapped; files are written once, so a handle stays good."""
    return safe_open(path, framework="pt")
