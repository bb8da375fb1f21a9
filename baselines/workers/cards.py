"""Baseline cards: what is known of a model that lives in an environment of its own.

The built-in ones are `baselines/cards/*.yaml`; those that a user added are in
`V2ABENCH_HOME/models/added`. Both are validated when they are read.
"""

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.files import write_text
from v2abench.models import added_folder, added_models
from v2abench.yamls import parse_yaml

Scalar = bool | int | float | str
Kind = Literal["isolated", "samples", "worker", "command"]
Text = Literal["none", "optional", "required"]
PLACEHOLDERS = ("video", "prompt", "seed", "seconds", "output", "device")
CATALOGUE = "catalogue.yaml"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class License(_Strict):
    """Under which terms the code and the weights are."""

    code: str
    weights: str
    commercial_use: bool
    note: str | None = None

    def __str__(self) -> str:
        terms = self.code if self.code == self.weights else f"code {self.code}; weights {self.weights}"
        return terms if self.commercial_use else f"{terms}; NOT FOR COMMERCIAL USE"


class Repository(_Strict):
    """The upstream repository at the commit that the worker script was written for.

    `folder` is the working directory inside it.
    """

    url: str
    commit: Annotated[str, StringConstraints(pattern="^[0-9a-f]{40}$")]
    date: str
    folder: str = "."


class Environment(_Strict):
    """The Python versions, best first, and the packages that the worker needs.

    `imports` are modules whose import shows that it works, and `module:function` what has
    to be called for that; `system` is what pip cannot install, `conflicts` why the pins
    are as they are.
    """

    python: tuple[str, ...] = Field(min_length=1)
    requirements: tuple[str, ...]
    imports: tuple[str, ...]
    system: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()


class Checkpoint(_Strict):
    """Weights: a file from `url`, or (files of) the Hugging Face repository `hub`.

    `path` is where they lie under the repository's working folder; without it they lie in
    the Hugging Face cache. `archive` is unpacked beside `path`, which is inside it. Sizes
    in bytes, None where they are not known.
    """

    use: str
    license: str
    path: str | None = None
    url: str | None = None
    hub: str | None = None
    files: tuple[str, ...] = ()
    archive: bool = False
    size: int | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "Checkpoint":
        if (self.url is None) == (self.hub is None):
            raise ValueError("give either `url` or `hub`")
        if self.url is not None and self.path is None:
            raise ValueError("a `url` needs a `path`")
        return self

    @property
    def source(self) -> str:
        """Where it comes from, for people."""
        return self.url or f"Hugging Face {self.hub}"

    @property
    def name(self) -> str:
        """What it is called, for people."""
        return self.path or f"{self.hub} (Hugging Face cache)"


class Option(_Strict):
    """One option of the worker: its default, and what it does."""

    default: Scalar
    help: str


class Timeouts(_Strict):
    """Seconds until a worker that says nothing has failed: for hello, for its models, for one clip."""

    start: float = Field(default=120.0, gt=0)
    load: float = Field(default=1800.0, gt=0)
    clip: float = Field(default=1800.0, gt=0)


class Card(_Strict):
    """One model. `isolated` has a repository, an environment and a script; `samples` only publishes
    sound; `worker` and `command` were added by the user and have a `command`, which runs in `folder`.
    """

    name: str = Field(pattern=r"^[a-z0-9][\w.-]*$")
    kind: Kind
    title: str
    summary: str
    license: License | None = None
    source: str | None = None
    paper: str | None = None
    parameters: int | None = None
    sample_rate: int | None = None
    channels: int | None = None
    text: Text = "optional"
    cot: bool = False
    max_seconds: float | None = None
    durations: str | None = None
    repository: Repository | None = None
    environment: Environment | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    script: str | None = None
    variables: dict[str, str] = {}
    options: dict[str, Option] = {}
    timeouts: Timeouts = Timeouts()
    command: tuple[str, ...] = ()
    folder: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> "Card":
        if self.kind == "isolated" and not (self.repository and self.environment and self.script):
            raise ValueError("an isolated model needs repository, environment and script")
        if self.kind in {"worker", "command"} and not self.command:
            raise ValueError(f"a {self.kind} needs a command")
        if self.kind == "command":
            _check_template(self.command)
        return self


def _check_template(command: tuple[str, ...]) -> None:
    text = " ".join(command)
    for name in ("video", "output"):
        if f"{{{name}}}" not in text:
            raise ValueError(f"a command must name {{{name}}}; it may name {_braced()}")


def _braced() -> str:
    return " ".join(f"{{{name}}}" for name in PLACEHOLDERS)


@cache
def built_in_cards() -> tuple[str, ...]:
    """Return the names of the cards that come with v2abench, sorted."""
    found = (entry.name for entry in files("v2abench.baselines").joinpath("cards").iterdir())
    return tuple(sorted(n.removesuffix(".yaml") for n in found if n.endswith(".yaml") and n != CATALOGUE))


@cache
def built_in_card(name: str) -> Card:
    """Return one of them; raises `UnknownNameError`."""
    if name not in built_in_cards():
        raise UnknownNameError("model card", name, built_in_cards())
    place = files("v2abench.baselines").joinpath("cards", f"{name}.yaml")
    return parse_card(place.read_text(encoding="utf-8"), f"{name}.yaml")


def added_card(name: str) -> Card:
    """Return the card of an added model; raises `UnknownNameError`, or `V2ABenchError` for a bad file."""
    if name not in added_models():
        raise UnknownNameError("added model", name, added_models())
    path = added_folder() / f"{name}.yaml"
    return parse_card(path.read_text(encoding="utf-8"), str(path))


def write_added(card: Card) -> Path:
    """Write the card of an added model; return its path."""
    path = added_folder() / f"{card.name}.yaml"
    text = yaml.safe_dump(card.model_dump(mode="json", exclude_defaults=True), sort_keys=False)
    write_text(path, text)
    return path


def find_card(name: str) -> Card:
    """Return the built-in or the added card of that name; raises `UnknownNameError`."""
    if name in built_in_cards():
        return built_in_card(name)
    if name in added_models():
        return added_card(name)
    raise UnknownNameError("model with a card", name, [*built_in_cards(), *added_models()])


def parse_card(text: str, source: str) -> Card:
    """Validate the YAML `text`; `source` names it in errors."""
    try:
        return Card.model_validate(parse_yaml(text, source))
    except ValidationError as error:
        raise V2ABenchError(f"{source}, {first_error(error)}") from error


def first_error(error: ValidationError) -> str:
    """Return place and message of the first thing that is wrong."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"])) or "the card"
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"
