"""The web application: the page, its two static files, and one address that reads pictures.

``POST /api/words?name=photo.jpg`` takes the bytes of a picture as the body and answers with what
:func:`~fasttcm.web.reading.read_picture` returns, or with ``{"error": "one line"}`` and status 413 (too large), 422
(not a picture) or 500. Pictures are not stored, and the page can load nothing from any other server.
"""

import asyncio
import logging
from importlib import resources
from string import Template

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fasttcm.data.images import IMAGE_SUFFIXES
from fasttcm.engine.spotter import Spotter
from fasttcm.errors import FastTCMError
from fasttcm.web.reading import plain_name, read_picture

__all__ = ["MEGABYTE", "build_app"]

MEGABYTE = 1_000_000

CONTENT_TOO_LARGE, UNPROCESSABLE, SERVER_ERROR = 413, 422, 500

HEADERS = {
    # data: are the drawn pictures and the icon; everything else comes from this server or not at all.
    "content-security-policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}

logger = logging.getLogger(__name__)


def build_app(spotter: Spotter, *, max_upload_mb: int) -> Starlette:
    """The application; needs starlette (extra ``web``).

    Args:
        spotter: reads the pictures, one after another however many requests come at once.
        max_upload_mb: largest upload in megabytes (10^6 bytes), at least 1.
    """
    static = resources.files("fasttcm.web") / "static"
    page = Template((static / "index.html").read_text("utf-8")).substitute(
        max_mb=max_upload_mb, suffixes=",".join(sorted(IMAGE_SUFFIXES))
    )
    one_at_a_time = asyncio.Lock()

    async def index(request: Request) -> Response:
        return HTMLResponse(page)

    async def words(request: Request) -> Response:
        name = plain_name(request.query_params.get("name", ""))
        data = await _body(request, max_upload_mb * MEGABYTE)
        if data is None:
            message = f"{name}: larger than {max_upload_mb} MB, the most this page takes (see --max-upload-mb)"
            return JSONResponse({"error": message}, CONTENT_TOO_LARGE)
        async with one_at_a_time:
            answer = await run_in_threadpool(read_picture, spotter, data, name=name)
        logger.info("%s: %d words in %.1f s", name, sum(map(len, answer["lines"])), answer["seconds"])
        return JSONResponse(answer)

    return Starlette(
        routes=[
            Route("/", index),
            Route("/api/words", words, methods=["POST"]),
            Mount("/static", StaticFiles(packages=[("fasttcm.web", "static")])),
        ],
        middleware=[Middleware(_Headers)],
        exception_handlers={FastTCMError: _mistake, ClientDisconnect: _gone, Exception: _fault},
    )


async def _body(request: Request, limit: int) -> bytes | None:
    """The body, or ``None`` when it has more than ``limit`` bytes.

    A body that is too large is read to its end but not kept: a browser shows an answer only after it has sent all.
    """
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        else:
            chunks.clear()
    return b"".join(chunks) if size <= limit else None


async def _mistake(request: Request, error: Exception) -> Response:
    logger.info("%s", error)
    return JSONResponse({"error": str(error)}, UNPROCESSABLE)


async def _gone(request: Request, error: Exception) -> Response:
    """Nobody reads this answer: the browser left while it was sending."""
    return Response(status_code=UNPROCESSABLE)


async def _fault(request: Request, error: Exception) -> Response:
    """A bug, or no memory left; starlette raises the error again, so that the terminal shows it."""
    message = f"the picture could not be read ({type(error).__name__}); the terminal of fasttcm web says more"
    return JSONResponse({"error": message}, SERVER_ERROR)


class _Headers:
    """:data:`HEADERS` on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in HEADERS.items())]
            await send(message)

        await self.app(scope, receive, send_with_headers)
