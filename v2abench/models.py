"""From what a user wrote after `--model` to a `Model`, and the seed of each clip."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from v2abench import registry
from v2abench.clips import Dataset
from v2abench.contracts import Model, ModelInfo
from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.home import home
from v2abench.progress import Progress, silent

if TYPE_CHECKING:
    from v2abench.features.extraction import Extractor

ALIGNED_CARD = "aligned.json"
"""What makes a folder an aligned model, which may stand for `--model aligned:FOLDER`."""

_LABEL = re.compile(r"^(?P<label>[^=:]+)=(?P<spec>.+)$")


@dataclass(frozen=True)
class GenerationOptions:
    """What a user chose of generation; None leaves the model's own default."""

    steps: int | None = None
    guidance_scale: float | None = None
    method: Literal["euler", "heun"] | None = None
    negative_prompt: str | None = None
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    compile: bool = False
    batch_size: int = 4


@dataclass(frozen=True)
class ModelContext:
    """With what a model is opened, beside its own argument.

    `extractor` reads media and keeps features of clips (conditions) in the store; it is
    None where no sound is generated (`v2abench check`).
    """

    dataset: Dataset
    device: str = "cpu"
    extractor: Extractor | None = None
    offline: bool = False
    progress: Progress = silent
    options: GenerationOptions = field(default_factory=GenerationOptions)

    def on(self, device: str) -> ModelContext:
        """Return the context for one device of this process, whatever the engine."""
        here = self.extractor.here(device) if self.extractor else None
        return replace(self, device=device, extractor=here, progress=silent)


ModelOpener = Callable[[str, ModelContext], Model]
"""A registered model: the part of the spec behind the colon, and the context.

An opener may have a method `describe() -> Description` for `models list`.
"""


@dataclass(frozen=True)
class Description:
    """What `models list` says of a model.

    `kind` is native, isolated, samples, files, control, or worker and command for those
    that a user added; `text` none, optional or required; `state` is `ready`, or what is
    missing here.
    """

    kind: str
    summary: str
    text: str
    license: str
    state: str


ADDED = "added"
"""The registered model that opens those which a user added, `added:NAME`."""


def added_folder() -> Path:
    """Where `models add` writes down models of the user's, a file each."""
    return home() / "models" / ADDED


def added_models() -> list[str]:
    """Return the names of the models that `models add` wrote down, sorted."""
    return sorted(path.stem for path in added_folder().glob("*.yaml"))


@dataclass(frozen=True)
class NamedModel:
    """A model, what the table calls it, and how the user named it.

    `context` is with what `spec` opens it again in another process, None for one that is only here.
    """

    model: Model
    info: ModelInfo
    spec: str
    context: ModelContext | None = None


def open_model(spec: str, context: ModelContext) -> NamedModel:
    """Return the model that `spec` names: `NAME`, `NAME:ARGUMENT`, a folder of an aligned model, or
    `LABEL=` before any of them.

    Raises `UnknownNameError`, or `V2ABenchError` from the model's own opener.
    """
    label, rest = split_label(spec)
    name, _, argument = rest.partition(":")
    known = registry.names("models")
    if name not in known and name in added_models():
        name, argument = ADDED, rest
    elif name not in known and (Path(rest) / ALIGNED_CARD).is_file():
        name, argument = "aligned", rest
    elif name not in known:
        raise UnknownNameError("model", name, [*known, *added_models()])
    opener: ModelOpener = registry.load("models", name)
    model = opener(argument, context)
    info = replace(model.info, name=label) if label else model.info
    if not info.name.strip():
        raise V2ABenchError(f"--model {spec}: the model has no name; write LABEL={rest}")
    return NamedModel(model, info, spec, context)


def split_label(spec: str) -> tuple[str | None, str]:
    """Return what `LABEL=` before a model's spec says, None without, and the spec itself."""
    labelled = _LABEL.match(spec)
    return (labelled["label"], labelled["spec"]) if labelled else (None, spec)


def clip_seed(seed: int, clip_id: str) -> int:
    """Return the 63-bit seed of one clip, so that order and batches never change a sample."""
    digest = hashlib.sha256(f"{seed} {clip_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
