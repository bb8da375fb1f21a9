"""Bringing a file from the web: in several tries, over several runs.

The download grows a `.partial` file; `.partial.json` beside it says of which remote file
it is: URL, ETag, Last-Modified and size. It goes on with a `Range` request, and from the
start where the answer is of another file, or whole because the server knows no ranges.
(`If-Range` would leave that judgement to the server, and some object stores ignore it.)

Made on the standard library: going on inside a body, which is the work here, is not done
by urllib3, httpx or pooch; proxies, redirects and certificates `urllib.request` does too.
"""

import errno
import json
import os
import re
import shutil
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from v2abench import __version__
from v2abench.errors import V2ABenchError
from v2abench.files import write_error
from v2abench.progress import Advance

TIMEOUT_SECONDS = 30.0
"""For the connection, and for each piece of the body."""

PAUSES_SECONDS = (1.0, 2.0, 4.0)
"""Before each further try. A try that got further than all before it starts the count anew."""

_PIECE = 1 << 18
_PASSING = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
_HOPELESS = (socket.gaierror, ssl.SSLCertVerificationError)


class DownloadError(V2ABenchError):
    """A file that could not be brought; the message is the cause alone."""


class _Interrupted(Exception):  # noqa: N818 (a state of one try, told to the loop over tries)
    """A try that ended early, and may be followed by another."""


@dataclass(frozen=True)
class Remote:
    """What tells one version of a remote file from another; None where the server does not say."""

    url: str
    etag: str | None
    last_modified: str | None
    size: int | None


@dataclass(frozen=True)
class Download:
    """A file to bring; `size_fault` says of a size in bytes why it cannot be the right file, or None."""

    url: str
    partial: Path
    size_fault: Callable[[int], str | None] = lambda _size: None

    @property
    def record(self) -> Path:
        """The file that says of which remote file `partial` is."""
        return self.partial.with_name(f"{self.partial.name}.json")

    def discard(self) -> None:
        """Remove what has come so far."""
        self.partial.unlink(missing_ok=True)
        self.record.unlink(missing_ok=True)


def bring(download: Download, advance: Advance) -> None:
    """Make `download.partial` whole, going on where an earlier call ended; `advance` counts bytes.

    Raises `DownloadError` for what the network or the server did, and `V2ABenchError`
    where the disk is full or cannot be written. What has come is kept for the next call.
    """
    reach = _forward_only(advance)
    furthest, pauses = _length(download.partial), list(PAUSES_SECONDS)
    while True:
        try:
            return _try(download, reach)
        except _Interrupted as error:
            if _length(download.partial) > furthest:
                furthest, pauses = _length(download.partial), list(PAUSES_SECONDS)
            if not pauses:
                raise DownloadError(f"{error}; what has come is kept for the next call") from error
            time.sleep(pauses.pop(0))
        except OSError as error:
            raise V2ABenchError(
                f"{download.url} could not be stored: {write_error(download.partial, error)}"
            ) from error


def _try(download: Download, reach: Callable[[int], None]) -> None:
    kept = _kept(download)
    offset = _length(download.partial) if kept else 0
    if kept is None or offset != kept.size:
        with _ask(download, offset) as response:
            remote, start = _remote(download.url, response), _start(response)
            if start and (remote, start) != (kept, offset):
                download.discard()
                raise _Interrupted("the file on the server changed meanwhile")
            if not start:
                _begin(download, remote)
            _need_space(download.partial, (remote.size or 0) - start)
            with download.partial.open("ab") as stream:
                reach(start)
                _copy(response, stream, remote.size, reach)
    reach(_length(download.partial))


def _kept(download: Download) -> Remote | None:
    """Of which remote file the partial one is, where it can go on: not without a size."""
    try:
        remote = Remote(**json.loads(download.record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    usable = remote.url == download.url and _length(download.partial) <= (remote.size or 0)
    return remote if usable else None


def _begin(download: Download, remote: Remote) -> None:
    if remote.size is not None and (fault := download.size_fault(remote.size)):
        raise DownloadError(f"the server offers another file: {fault}")
    download.discard()
    # Before the first byte: a partial file must never stand beside the record of another version.
    download.record.write_text(json.dumps(asdict(remote)), encoding="utf-8")


def _ask(download: Download, offset: int) -> HTTPResponse:
    headers = {"User-Agent": f"v2abench/{__version__}"} | ({"Range": f"bytes={offset}-"} if offset else {})
    try:
        response: HTTPResponse = urlopen(Request(download.url, headers=headers), timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        error.close()
        answer = f"the server answered {error.code} {error.reason}"
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            download.discard()
            raise _Interrupted(answer) from error
        raise (_Interrupted if error.code in _PASSING else DownloadError)(answer) from error
    except (OSError, HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) else error
        kind = DownloadError if isinstance(cause, _HOPELESS) else _Interrupted
        raise kind(f"no connection: {cause}") from error
    return response


def _remote(url: str, response: HTTPResponse) -> Remote:
    headers = response.headers
    size = headers.get("Content-Length")
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        size = headers.get("Content-Range", "").rpartition("/")[2]
    known = int(size) if size and size.isdecimal() else None
    return Remote(url, headers.get("ETag"), headers.get("Last-Modified"), known)


def _start(response: HTTPResponse) -> int:
    """At which byte the body begins; -1 where the answer is a part and does not say."""
    if response.status != HTTPStatus.PARTIAL_CONTENT:
        return 0
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else -1


def _copy(response: HTTPResponse, stream: BinaryIO, size: int | None, reach: Callable[[int], None]) -> None:
    while piece := _read(response):
        stream.write(piece)
        reach(stream.tell())
    stream.flush()
    os.fsync(stream.fileno())
    if size is not None and stream.tell() != size:
        raise _Interrupted(f"the connection was cut after {stream.tell()} of {size} bytes")


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read(_PIECE)
    except (OSError, HTTPException) as error:
        raise _Interrupted(f"the connection broke: {error or type(error).__name__}") from error


def _need_space(place: Path, size: int) -> None:
    free = shutil.disk_usage(place.parent).free
    if size > free:
        raise OSError(errno.ENOSPC, f"{size / 1e6:.1f} MB more are needed, {free / 1e6:.1f} MB are free")


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _forward_only(advance: Advance) -> Callable[[int], None]:
    """A position instead of steps; a download that starts again is shown once it passes where it was."""
    shown = 0

    def reach(position: int) -> None:
        nonlocal shown
        if position > shown:
            advance(position - shown)
            shown = position

    return reach
