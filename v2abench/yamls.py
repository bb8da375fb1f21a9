"""YAML that a person wrote: plain values, or an error that names its place."""

from pathlib import Path
from typing import Any

import yaml

from v2abench.errors import V2ABenchError


def parse_yaml(text: str, source: str) -> Any:
    """Return what the YAML `text` says, in plain values; `source` names it in the `V2ABenchError`.

    The parser has more than its own error: a date that is none is a `ValueError`, brackets
    without end a `RecursionError`.
    """
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise V2ABenchError(f"{source} is not YAML: {error}") from error
    except RecursionError as error:
        raise V2ABenchError(f"{source} is not YAML: it is nested too deeply") from error


def read_text(path: Path, source: str) -> str:
    """Return the text of a file in UTF-8; raises `V2ABenchError` for another encoding."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise V2ABenchError(f"{source} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
