"""One process at a time: a lock file beside the file that it guards."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from v2abench.files import write_error


@contextmanager
def exclusive(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[bool]:
    """Hold the lock `.NAME.lock` beside `path`; `waiting` is called once if another process has it.

    It is the kernel's lock, which ends with the process that held it, so there are no
    stale ones. On file systems without such locks `filelock` falls back to a marker
    file that names its owner. Raises `V2ABenchError` where no lock can be made.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            lock.acquire(poll_interval=0.2)
    except OSError as error:
        raise write_error(Path(lock.lock_file), error) from error
    except NotImplementedError as error:
        raise write_error(path, OSError(errno.ENOSYS, "the file system has no locks")) from error
    try:
        yield _is_kept(lock.lock_file)
    finally:
        lock.release()


def _is_kept(held: str) -> bool:
    """Say whether a second lock on the same file is refused, as it must be."""
    second = FileLock(held)
    try:
        second.acquire(timeout=0)
    except Timeout:
        return True
    second.release()
    return False
