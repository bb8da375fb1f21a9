"""Where v2abench keeps weights, features and rendered clips."""

import os
from pathlib import Path

import platformdirs

from v2abench.errors import V2ABenchError


def home() -> Path:
    """Return the cache folder: `V2ABENCH_HOME`, else the platform's cache directory."""
    chosen = os.environ.get("V2ABENCH_HOME")
    if chosen is None:
        return platformdirs.user_cache_path("v2abench")
    path = Path(chosen).expanduser()
    if not chosen.strip() or (path.exists() and not path.is_dir()):
        raise V2ABenchError(f"V2ABENCH_HOME={chosen!r} is not a folder; set it to one, or unset it")
    return path.absolute()
