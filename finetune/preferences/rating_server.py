"""`prefs rate`: a local page to rate samples on, by Starlette and Uvicorn (extra `annotate`).

It listens on 127.0.0.1 only, under a random token, and answers no page of another origin; what
it serves are the page's two files and the questions' own videos, by keys that name no file.
"""

from __future__ import annotations

import secrets
import socket
import tempfile
from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from v2abench.errors import ClipFault, V2ABenchError
from v2abench.finetune.preferences.rating_session import RatingSession
from v2abench.finetune.preferences.samples import read_samples

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

HOST = "127.0.0.1"
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; form-action 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_PAGE = {
    "": ("index.html", "text/html"),
    "page.js": ("page.js", "text/javascript"),
    "page.css": ("page.css", "text/css"),
}


def serve(
    folder: Path,
    rater: str,
    *,
    pairwise: bool = False,
    port: int = 0,
    seed: int = 0,
    announce: Callable[[str], None],
) -> None:
    """Serve the page until it is interrupted; `announce` gets its address. Raises `V2ABenchError`."""
    try:
        import uvicorn  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise _missing() from error
    token = secrets.token_urlsafe(16)
    with tempfile.TemporaryDirectory(prefix="v2abench-rate-") as media, socket.socket() as listener:
        session = RatingSession(
            read_samples(folder),
            rater,
            "compare" if pairwise else "rate",
            Path(media),
            secret=token,
            seed=seed,
        )
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            # From here on a browser that is quicker than the server waits, and is not refused.
            listener.listen()
        except OSError as error:
            raise V2ABenchError(
                f"--port {port} cannot be used ({error.strerror}); leave it out for a free one"
            ) from error
        app = rating_app(session, token)
        announce(f"http://{HOST}:{listener.getsockname()[1]}/{token}/")
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
        server.run(sockets=[listener])


def rating_app(session: RatingSession, token: str) -> Starlette:
    """Return the application; everything lies under `/<token>/`."""
    try:
        from starlette.applications import Starlette  # noqa: PLC0415 (an extra)
        from starlette.middleware import Middleware  # noqa: PLC0415
        from starlette.middleware.base import BaseHTTPMiddleware  # noqa: PLC0415
        from starlette.middleware.trustedhost import TrustedHostMiddleware  # noqa: PLC0415
        from starlette.routing import Mount, Route  # noqa: PLC0415
    except ImportError as error:
        raise _missing() from error
    handlers = _Handlers(session)
    routes = [
        Route("/next", handlers.question),
        Route("/answer", handlers.answer, methods=["POST"]),
        Route("/undo", handlers.undo, methods=["POST"]),
        Route("/media/{key}/{side:int}.mp4", handlers.media),
        Route("/{name}", handlers.page),
        Route("/", handlers.page),
    ]
    # A page elsewhere cannot reach this one under a name of its own (DNS rebinding).
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    origins = Middleware(BaseHTTPMiddleware, dispatch=_own_pages_only)
    return Starlette(routes=[Mount(f"/{token}", routes=routes)], middleware=[hosts, origins])


async def _own_pages_only(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    """Browsers name the origin of what a page sends; one that is not ours gets no answer."""
    origin = request.headers.get("origin")
    if origin is not None and origin != f"http://{request.headers['host']}":
        return _plain("this page is answered to itself only", 403)
    return await answer(request)


class _Handlers:
    """The answers to requests; those that work on files run in Starlette's threads."""

    def __init__(self, session: RatingSession) -> None:
        self.session = session

    def page(self, request: Request) -> Response:
        from starlette.responses import Response  # noqa: PLC0415

        found = _PAGE.get(request.path_params.get("name", ""))
        if found is None:
            return _plain("not here", 404)
        name, kind = found
        content = files(__package__).joinpath("page", name).read_bytes()
        return Response(content, media_type=kind, headers=_HEADERS)

    def question(self, _request: Request) -> Response:
        return _json(self.session.question())

    async def answer(self, request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool  # noqa: PLC0415

        try:
            given = await request.json()
            key, value = str(given["item"]), str(given["value"])
            return _json(await run_in_threadpool(self.session.answer, key, value))
        except (ValueError, KeyError, TypeError) as error:
            return _plain(f"not an answer: {error}", 400)
        except V2ABenchError as error:
            return _plain(str(error), 507)

    def undo(self, _request: Request) -> Response:
        return _json(self.session.undo())

    def media(self, request: Request) -> Response:
        from starlette.responses import FileResponse  # noqa: PLC0415

        try:
            path = self.session.file(request.path_params["key"], request.path_params["side"])
        except (KeyError, IndexError):
            return _plain("not here", 404)
        except ClipFault as fault:
            return _plain(str(fault), 422)
        return FileResponse(path, media_type="video/mp4", headers=_HEADERS)


def _json(content: dict[str, object]) -> Response:
    from starlette.responses import JSONResponse  # noqa: PLC0415

    return JSONResponse(content, headers=_HEADERS)


def _plain(text: str, status: int) -> Response:
    from starlette.responses import PlainTextResponse  # noqa: PLC0415

    return PlainTextResponse(text, status, headers=_HEADERS)


def _missing() -> V2ABenchError:
    return V2ABenchError(
        "the rating page needs starlette and uvicorn; run `pip install 'v2abench[annotate]'`"
    )
