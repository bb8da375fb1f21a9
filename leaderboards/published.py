"""Published tables: the numbers of papers, each a CSV with a card that says where it comes from.

A table is two files in `leaderboards/published/`: `NAME.csv` as the paper prints it, and
`NAME.yaml`, the card: paper, protocol and dataset, which column is which metric, and what
the paper says of each row. What is published was not measured here, and boards say so.
"""

import csv
import io
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.yamls import parse_yaml

_COUNT = re.compile(r"^(\d+(?:\.\d+)?)([KMB])$")
_SCALES = {"K": 1_000, "M": 1_000_000, "B": 1_000_000_000}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MetricColumn(_Strict):
    """Which metric a column holds, in which unit."""

    name: str
    unit: str
    direction: Literal["higher", "lower", "neutral"]


class Card(_Strict):
    """Where a table comes from, and what its columns are.

    `label` makes a row's name from its columns. `parameters`, `text_prompt` and `note`
    name columns; `groups` sorts the rows by their note.
    """

    name: str
    title: str
    paper: str
    dataset: str
    protocol: str
    provenance: str
    label: str
    parameters: str | None = None
    text_prompt: str | None = None
    note: str | None = None
    groups: dict[str, str] = {}
    metrics: dict[str, MetricColumn]


@dataclass(frozen=True)
class PublishedRow:
    """One row of a paper: values by metric, parameters, whether it reads a prompt, and the paper's note."""

    label: str
    group: str
    note: str
    parameters: int | None
    text_prompt: bool | None
    values: dict[str, float]


@dataclass(frozen=True)
class PublishedTable:
    """A card and its rows, in the paper's order; `formats` shows each metric as the paper prints it."""

    card: Card
    rows: tuple[PublishedRow, ...]
    formats: dict[str, str]


def published_names() -> list[str]:
    """Return the names of the tables in the package, sorted."""
    return sorted(_stems())


def load_published(name: str) -> PublishedTable:
    """Return the table of that name; raises `UnknownNameError`."""
    stems = _stems()
    if name not in stems:
        raise UnknownNameError("published table", name, stems)
    folder = files(__package__).joinpath("published")
    stem = stems[name]
    return parse_published(
        folder.joinpath(f"{stem}.yaml").read_text(encoding="utf-8"),
        folder.joinpath(f"{stem}.csv").read_text(encoding="utf-8"),
        stem,
    )


def parse_published(card_text: str, table_text: str, source: str) -> PublishedTable:
    """Validate a card and its CSV; raises `V2ABenchError` naming file, column and cause."""
    card = _card(card_text, source)
    reader = csv.DictReader(io.StringIO(table_text))
    present = set(reader.fieldnames or ())
    named = [card.parameters, card.text_prompt, card.note, *card.metrics]
    if not present:
        raise V2ABenchError(f"{source}.csv is empty")
    if lacking := [name for name in named if name and name not in present]:
        raise V2ABenchError(f"{source}.csv has no column {lacking[0]!r}, which {source}.yaml names")
    lines = list(reader)
    formats = {
        metric.name: f".{max(len(cells[column].strip().partition('.')[2]) for cells in lines)}f"
        for column, metric in card.metrics.items()
    }
    return PublishedTable(card, tuple(_row(card, cells, source) for cells in lines), formats)


def _card(text: str, source: str) -> Card:
    try:
        return Card.model_validate(parse_yaml(text, f"{source}.yaml"))
    except ValidationError as error:
        raise V2ABenchError(f"{source}.yaml is no card of a published table: {error}") from error


@cache
def _stems() -> dict[str, str]:
    folder = files(__package__).joinpath("published")
    found = {}
    for file in folder.iterdir():
        if file.name.endswith(".yaml"):
            stem = file.name.removesuffix(".yaml")
            found[_card(file.read_text(encoding="utf-8"), stem).name] = stem
    return found


def _row(card: Card, cells: dict[str, str], source: str) -> PublishedRow:
    note = cells[card.note] if card.note else ""
    values = {}
    for column, metric in card.metrics.items():
        if cells[column].strip():
            try:
                values[metric.name] = float(cells[column])
            except ValueError as error:
                raise V2ABenchError(
                    f"{source}.csv, column {column}: {cells[column]!r} is no number"
                ) from error
    return PublishedRow(
        label=card.label.format(**cells),
        group=card.groups.get(note, ""),
        note=note,
        parameters=_count(cells[card.parameters], source) if card.parameters else None,
        text_prompt=cells[card.text_prompt] == "yes" if card.text_prompt else None,
        values=values,
    )


def _count(text: str, source: str) -> int | None:
    """A number of parameters as papers print it, `1.03B`; None for an empty cell."""
    if not text.strip():
        return None
    match = _COUNT.match(text.strip())
    if not match:
        raise V2ABenchError(f"{source}.csv: {text!r} is no number of parameters such as 415M or 1.03B")
    return round(float(match[1]) * _SCALES[match[2]])
