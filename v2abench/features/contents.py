"""Which files a dataset consists of, by content."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from v2abench.clips import Clip, Dataset
from v2abench.errors import ClipFault
from v2abench.features.extraction import Content
from v2abench.files import content_hash
from v2abench.progress import Progress, silent

Contents = Mapping[Path, Content | ClipFault]


def hash_contents(paths: Iterable[Path], progress: Progress = silent) -> dict[Path, Content | ClipFault]:
    """Hash each file once; one that is not there or cannot be read gives a fault."""
    unique = list(dict.fromkeys(paths))
    found: dict[Path, Content | ClipFault] = {}
    with progress("hash", len(unique)) as advance, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for path, content in zip(unique, pool.map(_content, unique), strict=True):
            found[path] = content
            advance(1)
    return found


def dataset_fingerprint(dataset: Dataset, contents: Contents) -> str:
    """Return the SHA-256 over clips and contents, whatever the order or the place of the files."""
    lines = sorted(json.dumps(_described(clip, contents)) for clip in dataset.clips)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _described(clip: Clip, contents: Contents) -> list[object]:
    files = [_name(contents.get(path)) if path else None for path in (clip.video, clip.reference)]
    return [clip.id, *files, clip.prompt, clip.label, clip.speech]


def _name(content: Content | ClipFault | None) -> str:
    return content.hash if isinstance(content, Content) else "missing"


def _content(path: Path) -> Content | ClipFault:
    try:
        return Content(path, content_hash(path))
    except FileNotFoundError:
        return ClipFault("missing", f"{path.name} does not exist")
    except OSError as error:
        return ClipFault("unreadable", f"{path.name}: {error.strerror or error}")
