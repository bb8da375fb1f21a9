"""A web server of our own, with ranges and with the faults that real ones have."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


@dataclass
class Served:
    """A file on the site, and how it is served.

    `statuses` are answered first, one a request. `cuts` say after how many bytes the
    connection of each next request breaks. The body stops at half until `gate` is open.
    """

    data: bytes
    etag: str | None = '"one"'
    last_modified: str | None = "Mon, 01 Jan 2024 00:00:00 GMT"
    ranges: bool = True
    length: bool = True
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    gate: threading.Event | None = None


@dataclass
class Site:
    """What is served at `address`, and the (path, Range) of each request so far."""

    address: str
    files: dict[str, Served] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    def url(self, name: str) -> str:
        return f"{self.address}/{name}"

    @property
    def ranges(self) -> list[str | None]:
        return [asked for _, asked in self.requests]


@contextmanager
def serve() -> Iterator[Site]:
    """Serve an empty site on a free port of this machine."""
    site = Site("")

    class Handler(_Handler):
        pages = site

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    pages: Site

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.pages.requests.append((unquote(self.path), asked))
        served = self.pages.files.get(unquote(self.path).lstrip("/"))
        if served is None:
            return self.send_error(404)
        if served.statuses:
            return self.send_error(served.statuses.pop(0))
        start = self._start(asked) if served.ranges else 0
        if start and start >= len(served.data):
            return self.send_error(416)
        self._head(served, start)
        return self._body(served, served.data[start:])

    def log_message(self, *_: object) -> None: ...

    @staticmethod
    def _start(asked: str | None) -> int:
        found = re.fullmatch(r"bytes=(\d+)-", asked or "")
        return int(found[1]) if found else 0

    def _head(self, served: Served, start: int) -> None:
        size = len(served.data)
        self.send_response(206 if start else 200)
        headers = {"ETag": served.etag, "Last-Modified": served.last_modified}
        if start:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        if served.length:
            headers["Content-Length"] = str(size - start)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()

    def _body(self, served: Served, body: bytes) -> None:
        if served.cuts:
            body = body[: served.cuts.pop(0)]
        try:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            if served.gate is not None:
                served.gate.wait(30)
            self.wfile.write(body[len(body) // 2 :])
        except OSError:
            pass  # the client went away
