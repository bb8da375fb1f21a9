"""The checkpoints of an isolated model: are they there, how much is to come, and how it comes."""

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

from v2abench.baselines.workers.cards import Checkpoint
from v2abench.baselines.workers.places import scripts_folder
from v2abench.baselines.workers.process import last_words
from v2abench.errors import V2ABenchError
from v2abench.progress import Progress
from v2abench.weights.downloading import Download, DownloadError, bring

SIZE_TOLERANCE = 0.05
"""As for the weights of networks: sizes are often known roughly."""


def fault(checkpoint: Checkpoint, folder: Path) -> str | None:
    """Say what is wrong with the checkpoint under the working `folder`, or None where it is there."""
    if checkpoint.hub is None:
        return _file_fault(checkpoint, folder / (checkpoint.path or ""))
    if checkpoint.path is not None:
        place = folder / checkpoint.path
        return _tree_fault(checkpoint, [place], place / ".cache")
    cached = hub_cache() / f"models--{checkpoint.hub.replace('/', '--')}"
    return _tree_fault(checkpoint, sorted(cached.glob("snapshots/*")), cached / "blobs")


def hub_cache() -> Path:
    """Where Hugging Face libraries keep what they download, by their own rules."""
    explicit = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if explicit:
        return Path(explicit).expanduser()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return Path(os.environ.get("HF_HOME") or cache / "huggingface").expanduser() / "hub"


def readable(size: int | None) -> str:
    """Return a size in GB or MB, for people."""
    if size is None:
        return "size not known"
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def total(checkpoints: Iterable[Checkpoint]) -> str:
    """Return the sum of the known sizes, and how many are not known."""
    sizes = [checkpoint.size for checkpoint in checkpoints]
    known = [size for size in sizes if size is not None]
    said = [readable(sum(known))] if known else []
    said += [f"{sizes.count(None)} of unknown size"] if None in sizes else []
    return ", and ".join(said) or "nothing"


def fetch(checkpoint: Checkpoint, folder: Path, python: Path, log: Path, progress: Progress) -> None:
    """Bring what is missing of a checkpoint, going on where an earlier call ended.

    Raises `V2ABenchError` with the address, so that it can be fetched by hand.
    """
    if checkpoint.hub is not None:
        _fetch_hub(checkpoint, folder, python, log)
    else:
        _fetch_url(checkpoint, folder, progress)
    wrong = fault(checkpoint, folder)
    if wrong is not None:
        raise V2ABenchError(f"{checkpoint.name} was fetched from {checkpoint.source}, but {wrong}")


def _fetch_url(checkpoint: Checkpoint, folder: Path, progress: Progress) -> None:
    url, target = checkpoint.url or "", folder / (checkpoint.path or "")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    download = Download(url, partial)
    try:
        with progress(target.name, checkpoint.size or 0) as advance:
            bring(download, advance)
    except DownloadError as error:
        raise V2ABenchError(f"{url}: {error}; run setup again, or put the file at {target}") from error
    if checkpoint.archive:
        _unpack(partial, target)
    else:
        partial.replace(target)
    download.discard()


def _unpack(archive: Path, target: Path) -> None:
    """Unpack beside `target`, which is whole or absent after that."""
    scratch = target.with_name(f".unpacking-{target.name}")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        with tarfile.open(archive) as members:
            members.extractall(scratch, filter="data")
        (scratch / target.name).replace(target)
    except (OSError, tarfile.TarError) as error:
        raise V2ABenchError(f"{archive} does not unpack to {target.name}: {error}; remove it") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _fetch_hub(checkpoint: Checkpoint, folder: Path, python: Path, log: Path) -> None:
    place = str(folder / checkpoint.path) if checkpoint.path else "-"
    command = [python, scripts_folder() / "fetch_from_hub.py", checkpoint.hub, place, *checkpoint.files]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        done = subprocess.run(
            [str(part) for part in command],
            stdout=stream, stderr=stream, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        raise V2ABenchError(
            f"{checkpoint.hub} could not be fetched; {last_words(log)}; whole log {log}; run setup again, "
            f"or put {checkpoint.name} there by hand"
        )


def _file_fault(checkpoint: Checkpoint, path: Path) -> str | None:
    if not path.exists():
        return f"{path} is missing"
    if path.is_dir():
        return None if any(path.iterdir()) else f"{path} is empty"
    size = path.stat().st_size
    if checkpoint.size and not checkpoint.archive and abs(size / checkpoint.size - 1) > SIZE_TOLERANCE:
        return f"{path} has {readable(size)} where {readable(checkpoint.size)} are expected"
    return None


def _tree_fault(checkpoint: Checkpoint, places: list[Path], workshop: Path) -> str | None:
    if any(workshop.rglob("*.incomplete")):
        return f"the download of {checkpoint.hub} has not ended"
    whole = [p for p in places if p.is_dir() and any(p.iterdir())]
    if not whole:
        return f"{checkpoint.name} is missing"
    lacking = [name for name in checkpoint.files if not any(any(p.glob(name)) for p in whole)]
    return f"{checkpoint.name} lacks {', '.join(lacking)}" if lacking else None
