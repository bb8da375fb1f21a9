"""Manifests: a TSV, CSV or JSONL file with one clip a row.

| column | meaning |
| --- | --- |
| `video` | path of the video; required |
| `id` | name of the clip; default: the video's stem |
| `reference` | path of the true sound; default: the video itself; `-` for none |
| `prompt` (or `caption`) | text for text-conditioned models and CLAP |
| `label` | class |
| `speech` | `true` or `false`: human speech; PESQ is computed on such clips only |

Paths are relative to the manifest, or to `--data-root`, and stay below it: a manifest from
somebody else names no files of yours. Other columns are left alone.
"""

import csv
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from v2abench.clips import Clip, Dataset
from v2abench.datasets.opening import DatasetOptions, refuse_options
from v2abench.errors import V2ABenchError
from v2abench.files import inside

_TRUE, _FALSE = {"true", "1", "yes"}, {"", "false", "0", "no"}


def open_manifest(argument: str, options: DatasetOptions) -> Dataset:
    """Open the manifest file `argument`; raises `V2ABenchError` naming file, line and column."""
    refuse_options(argument, options, "reference")
    path = Path(argument)
    if not path.is_file():
        raise V2ABenchError(f"--dataset {argument}: no such file")
    root = options.data_root or path.parent
    clips = tuple(_clip(row, root, place) for place, row in read_rows(path))
    return Dataset(path.stem, argument, clips)


def read_rows(path: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield (`file:line`, row) of a TSV, CSV or JSONL file; values are strings."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            if path.suffix.lower() == ".jsonl":
                yield from _json_rows(stream, path)
            else:
                yield from _table_rows(stream, path)
    except UnicodeDecodeError as error:
        raise V2ABenchError(f"{path} is not UTF-8 text ({error.reason}); save it as UTF-8") from error


def _json_rows(stream: Iterator[str], path: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            cause = error.msg if isinstance(error, json.JSONDecodeError) else error
            raise V2ABenchError(f"{path}:{number} is not JSON: {cause}") from error
        if not isinstance(row, dict):
            raise V2ABenchError(f"{path}:{number} is not an object; write one clip as {{...}} a line")
        yield (
            f"{path}:{number}",
            {key: "" if value is None else str(value) for key, value in row.items()},
        )


def _table_rows(stream: Iterator[str], path: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    tabs = path.suffix.lower() == ".tsv"
    dialect: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {}
    reader = csv.DictReader(stream, **dialect)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise V2ABenchError(f"{path}:{reader.line_num} is not a table: {error}") from error
        if row is None:
            return
        place = f"{path}:{reader.line_num}"
        if None in row or None in row.values():
            raise V2ABenchError(
                f"{place} has another number of columns than the header; check its separators"
            )
        yield place, row


def _clip(row: Mapping[str, str], root: Path, place: str) -> Clip:
    if not row.get("video"):
        known = ", ".join(row) or "none"
        raise V2ABenchError(f"{place} has no `video`; the columns are {known}")
    speech = row.get("speech", "").lower()
    if speech not in _TRUE | _FALSE:
        raise V2ABenchError(f"{place}: speech is {row['speech']!r}; write true or false")
    video = _below(root, row["video"], place)
    reference = row.get("reference", "")
    return Clip(
        id=row.get("id") or video.stem,
        video=video,
        reference=None if reference == "-" else _below(root, reference, place) if reference else video,
        prompt=row.get("prompt") or row.get("caption") or None,
        label=row.get("label") or None,
        speech=speech in _TRUE,
    )


def _below(root: Path, name: str, place: str) -> Path:
    try:
        os.fsencode(name)
    except UnicodeEncodeError as error:
        raise V2ABenchError(f"{place}: {name!r} cannot be the name of a file; write it in Unicode") from error
    found = None if "\0" in name else inside(root, name)
    if found is None:
        raise V2ABenchError(
            f"{place}: {name!r} is not below {root}; give as --data-root a folder that holds all the media "
            "(`--data-root /` allows any absolute path, for a manifest of your own)"
        )
    return found
