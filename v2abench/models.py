"""From what a user wrote after `--model` to a `Model`, and the seed of each clip."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from v2abench import registry
from v2abench.clips import Dataset
from v2abench.contracts import Model, ModelInfo
from v2abench.errors import V2ABenchError

ModelOpener = Callable[[str, Dataset], Model]
"""A registered model: the part of the spec behind the colon, and the dataset."""

_LABEL = re.compile(r"^(?P<label>[^=:]+)=(?P<spec>.+)$")


@dataclass(frozen=True)
class NamedModel:
    """A model, what the table calls it, and how the user named it."""

    model: Model
    info: ModelInfo
    spec: str


def open_model(spec: str, dataset: Dataset) -> NamedModel:
    """Return the model that `spec` names: `NAME`, `NAME:ARGUMENT`, or `LABEL=` before either.

    Raises `UnknownNameError`, or `V2ABenchError` from the model's own opener.
    """
    labelled = _LABEL.match(spec)
    label, rest = (labelled["label"], labelled["spec"]) if labelled else (None, spec)
    name, _, argument = rest.partition(":")
    opener: ModelOpener = registry.load("models", name)
    model = opener(argument, dataset)
    info = replace(model.info, name=label) if label else model.info
    if not info.name.strip():
        raise V2ABenchError(f"--model {spec}: the model has no name; write LABEL={rest}")
    return NamedModel(model, info, spec)


def clip_seed(seed: int, clip_id: str) -> int:
    """Return the 63-bit seed of one clip, so that order and batches never change a sample."""
    digest = hashlib.sha256(f"{seed} {clip_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
