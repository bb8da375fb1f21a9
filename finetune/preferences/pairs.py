"""Preference pairs as data: the schema of the Parquet file, reading and writing.

One row is one pair of samples of one clip. `winner_audio` and `winner_latent` (and the
loser's) are relative to the sample folder `samples`, which itself is relative to the
pairs file where both lie on one drive; a latent is `FILE.safetensors#KEY`, or null where
the model has none. The probabilities are AudioScore's, null where no fitted AudioScore
graded the pair. `complexity` is 0 for pairs by people and for pairs without probabilities,
which puts them into the second stage of a curriculum.

Beside `NAME.parquet` lies `NAME.json`, the card: how the pairs came about.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, cast

import pyarrow as pa
import pyarrow.parquet as pq

from v2abench.errors import V2ABenchError
from v2abench.files import atomic, write_text

Source = Literal["auto", "human"]
SOURCES: tuple[Source, ...] = ("auto", "human")
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Pair:
    """One pair; the fields are the columns of the file. Hashes are `files.content_hash`."""

    clip: str
    prompt: str | None
    video: str
    source: Source
    complexity: float
    samples: str
    winner: str
    loser: str
    winner_audio: str
    loser_audio: str
    winner_hash: str
    loser_hash: str
    winner_seed: int
    loser_seed: int
    winner_latent: str | None = None
    loser_latent: str | None = None
    winner_p_good: float | None = None
    winner_p_medium: float | None = None
    winner_p_bad: float | None = None
    loser_p_good: float | None = None
    loser_p_medium: float | None = None
    loser_p_bad: float | None = None


@dataclass(frozen=True)
class PairSet:
    """Pairs in the order of the file, their card, and the folder of the file."""

    pairs: tuple[Pair, ...]
    card: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)

    def place(self, pair: Pair, relative: str) -> Path:
        """Return where `relative`, an audio or a latent file of `pair`, lies."""
        return self.folder / pair.samples / relative

    def latent(self, pair: Pair, side: Literal["winner", "loser"]) -> tuple[Path, str] | None:
        """Return the file and the key in it of a side's latent, None where there is none."""
        stored = pair.winner_latent if side == "winner" else pair.loser_latent
        if stored is None:
            return None
        file, _, key = stored.rpartition("#")
        return self.place(pair, file), key


_TEXT = pa.string()
_TYPES: dict[str, pa.DataType] = {
    "str": _TEXT,
    "str | None": _TEXT,
    "Source": _TEXT,
    "float": pa.float64(),
    "float | None": pa.float64(),
    "int": pa.int64(),
}
SCHEMA = pa.schema(
    [pa.field(f.name, _TYPES[str(f.type)], nullable="None" in str(f.type)) for f in fields(Pair)]
)
"""The columns of the file."""


def write_pairs(path: Path, pairs: Sequence[Pair], card: Mapping[str, object]) -> None:
    """Write the pairs to `path`, which ends in `.parquet`, and the card beside it; both atomically."""
    if path.suffix != ".parquet":
        raise V2ABenchError(f"{path}: pairs are a Parquet file; give a name that ends in .parquet")
    table = pa.Table.from_pylist([asdict(pair) for pair in pairs], schema=SCHEMA)
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    whole = {"schema_version": SCHEMA_VERSION, "pairs": len(pairs), **card}
    write_text(path.with_suffix(".json"), json.dumps(whole, indent=2, ensure_ascii=False) + "\n")


def read_pairs(path: Path) -> PairSet:
    """Read a pairs file and its card; raises `V2ABenchError` for what is not one."""
    if not path.is_file():
        raise V2ABenchError(f"{path} does not exist; `v2abench prefs pair` writes pairs")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise V2ABenchError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}") from error
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    if missing:
        raise V2ABenchError(
            f"{path} lacks the columns {', '.join(missing)}; write it with `v2abench prefs pair`"
        )
    try:
        rows = table.select(SCHEMA.names).cast(SCHEMA).to_pylist()
    except (pa.ArrowException, ValueError) as error:
        raise V2ABenchError(f"{path}: {str(error).splitlines()[0]}") from error
    pairs = tuple(_checked(Pair(**cast(dict[str, Any], row)), path, n) for n, row in enumerate(rows))
    return PairSet(pairs, _card(path.with_suffix(".json")), path.parent)


def relative_folder(folder: Path, pairs_file: Path) -> str:
    """Return the sample folder as the pairs file names it: relative, or absolute on another drive."""
    try:
        return Path(os.path.relpath(folder.resolve(), pairs_file.parent.resolve())).as_posix()
    except ValueError:
        return folder.resolve().as_posix()


def _checked(pair: Pair, path: Path, row: int) -> Pair:
    wrong = None
    if pair.source not in SOURCES:
        wrong = f"source is {pair.source!r}, not one of {', '.join(SOURCES)}"
    elif not (math.isfinite(pair.complexity) and -1 <= pair.complexity <= 1):
        wrong = f"complexity is {pair.complexity}, not a number from -1 to 1"
    elif pair.winner == pair.loser:
        wrong = f"winner and loser are the same sample {pair.winner!r}"
    if wrong:
        raise V2ABenchError(f"{path}, row {row} (clip {pair.clip!r}): {wrong}; write it anew")
    return pair


def _card(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise V2ABenchError(f"{path}, the card of the pairs, is missing; copy it along with the Parquet file")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise V2ABenchError(f"{path} is not JSON: {error}; write the pairs anew") from error
    if not isinstance(card, dict) or card.get("schema_version") != SCHEMA_VERSION:
        raise V2ABenchError(f"{path} is not a card of schema {SCHEMA_VERSION}; write the pairs anew")
    return card
