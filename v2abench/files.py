"""Atomic writes and content hashes: what every room needs of the file system."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from v2abench.errors import V2ABenchError

PARTIAL = ".partial-"
"""How the name of a file begins that is still being written."""

_REMEDY = {
    errno.ENOSPC: "free some space there, or choose another place",
    errno.EDQUOT: "free some of your quota, or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.EACCES: "choose a place that you may write to",
    errno.EPERM: "choose a place that you may write to",
}


def write_error(path: Path, error: OSError) -> V2ABenchError:
    """Return the error that tells a user why `path` could not be written."""
    remedy = _REMEDY.get(error.errno or 0, "choose another place")
    return V2ABenchError(
        f"cannot write {path}: {error.strerror or error}; {remedy} "
        "(--output for results, V2ABENCH_HOME for the cache)"
    )


def inside(root: Path, name: str) -> Path | None:
    """Return the place that `name`, from somebody else's file, has below `root`; None where it leaves it.

    By its words alone: an absolute name must lie below the absolute `root`. Links are followed when the
    file is opened; see `inside_for_good`.
    """
    if not name.startswith(("/", "\\")) and ".." not in name and ":" not in name:
        return root / name
    place = os.path.normpath(root.absolute() / name)
    return root / name if Path(place).is_relative_to(os.path.normpath(root.absolute())) else None


def inside_for_good(root: Path, name: str) -> Path | None:
    """Return what `inside` does, and None as well where links lead out of `root`."""
    place = inside(root, name)
    return place if place and place.resolve().is_relative_to(root.resolve()) else None


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with its suffix; on success it becomes `path`.

    A crash leaves `path` as it was and at most one `.partial-*` file behind.
    Raises `V2ABenchError` where the place cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=PARTIAL, suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def strangers(folder: Path, *known: str) -> list[Path]:
    """Return what is in `folder`, if it is there, but for the `known` names and files half written."""
    present = folder.iterdir() if folder.is_dir() else ()
    return [path for path in present if path.name not in known and not path.name.startswith(PARTIAL)]


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, UTF-8, with newlines as they are."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def content_hash(path: Path) -> str:
    """Return the BLAKE2b-160 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=20)).hexdigest()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of_text(text: str) -> str:
    """Return the SHA-256 of a text's UTF-8 bytes, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
