"""What `models list` shows: every registered and every added model, without importing what is heavy.

A model with a card is described by it; one that is named in `baselines/cards/catalogue.yaml`
by what stands there; any other by its opener: its `describe()`, or the first line of its
docstring.
"""

from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from v2abench import registry
from v2abench.baselines.workers.cards import (
    CATALOGUE,
    Text,
    added_card,
    built_in_card,
    built_in_cards,
    first_error,
)
from v2abench.baselines.workers.examining import describe_card
from v2abench.errors import V2ABenchError
from v2abench.home import home
from v2abench.models import ADDED, Description, added_models

READY = "ready"


class Entry(BaseModel):
    """A model that is part of v2abench; `weights` are names of the weights registry."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: str
    summary: str
    text: Text = "none"
    license: str = "MIT (this code)"
    weights: tuple[str, ...] = ()


def describe_all() -> dict[str, Description]:
    """Return what is known of each model, by the name that `--model` takes."""
    registered = {name: describe(name) for name in registry.names("models") if name != ADDED}
    added = {name: describe_card(added_card(name)) for name in added_models() if name not in registered}
    return {**registered, **added}


def describe(name: str) -> Description:
    """Return what is known of one registered model."""
    if name in built_in_cards():
        return describe_card(built_in_card(name))
    if name in catalogue():
        entry = catalogue()[name]
        return Description(
            entry.kind, entry.summary, entry.text, entry.license, _weights_state(entry.weights)
        )
    try:
        return _by_opener(registry.load("models", name))
    except V2ABenchError as error:
        return Description("unknown", "cannot be imported", "none", "not stated", str(error))


@cache
def catalogue() -> dict[str, Entry]:
    """Return the entries of the catalogue; raises `V2ABenchError` for a bad one."""
    place = files("v2abench.baselines").joinpath("cards", CATALOGUE)
    found = yaml.safe_load(place.read_text(encoding="utf-8"))
    try:
        return {name: Entry.model_validate(entry) for name, entry in found.items()}
    except ValidationError as error:
        raise V2ABenchError(f"{CATALOGUE}, {first_error(error)}") from error


def _by_opener(opener: Any) -> Description:
    if hasattr(opener, "describe"):
        said = opener.describe()
        if isinstance(said, Description):
            return said
    summary = (opener.__doc__ or "").strip().partition("\n")[0]
    return Description("native", summary or "not described", "none", "not stated", READY)


def _weights_state(names: tuple[str, ...]) -> str:
    """Whether the checkpoints lie in the cache, by name alone: hashing them is the business of `weights`."""
    if not names:
        return READY
    # Read as plain data: the registry's own module imports torch.
    entries = yaml.safe_load(files("v2abench.weights").joinpath("registry.yaml").read_text(encoding="utf-8"))
    folder = home() / "weights"
    missing = [n for n in names if n not in entries or not (folder / entries[n]["file"]).is_file()]
    by_hand = [n for n in missing if "page" in entries.get(n, {}).get("source", {})]
    fetched = [n for n in missing if n not in by_hand]
    said = [f"by hand (v2abench weights list): {', '.join(by_hand)}"] if by_hand else []
    said += [f"fetched on first use: {', '.join(fetched)}"] if fetched else []
    return "; ".join(said) or READY
