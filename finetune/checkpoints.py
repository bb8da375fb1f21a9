"""Checkpoints of a training: written atomically, read back before older ones go."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from v2abench.errors import V2ABenchError
from v2abench.files import atomic

_log = logging.getLogger(__name__)
_NAME = re.compile(r"^step-(\d+)\.pt$")


def save(folder: Path, step: int, fingerprint: str, state: Mapping[str, Any], keep: int) -> Path:
    """Write the state after `step` steps; then remove all but the newest `keep`.

    Nothing is removed unless the new file reads back.
    """
    path = folder / f"step-{step:08d}.pt"
    with atomic(path) as temporary:
        torch.save({"fingerprint": fingerprint, "step": step, **state}, temporary)
    if _read(path) is None:
        raise V2ABenchError(f"{path} does not read back after it was written; is the disk sound?")
    for old in _present(folder)[:-keep]:
        old.unlink()
    return path


def newest(folder: Path, fingerprint: str) -> dict[str, Any] | None:
    """Return the newest state that reads, None where there is none.

    Raises `V2ABenchError` where it is of another training.
    """
    for path in reversed(_present(folder)):
        state = _read(path)
        if state is None:
            _log.warning("%s cannot be read; going on from the one before", path)
            continue
        if state["fingerprint"] != fingerprint:
            raise V2ABenchError(
                f"{path} is of a training with another recipe, model, protocol or data; choose another "
                "--output, or delete the folder"
            )
        return state
    return None


def _present(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*.pt") if _NAME.match(path.name))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, LookupError, ValueError, UnpicklingError):
        return None
    return state if {"fingerprint", "step"} <= state.keys() else None
