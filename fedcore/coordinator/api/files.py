"""Sending files in blocks, under ASGI and WSGI, with ranges so that an interrupted download can go on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

_BLOCK: Final = 1024 * 1024
_RANGE: Final = re.compile(r"bytes=(\d{1,15})-(\d{0,15})")


def file_response(request: HttpRequest, path: Path, name: str | None = None) -> HttpResponseBase:
    """The file's bytes, or the part that the header `Range` asks for. `name` is what a browser saves it as."""
    size = path.stat().st_size
    asked = _RANGE.fullmatch(request.headers.get("Range", ""))
    start, end = (int(asked[1]), min(int(asked[2] or size - 1), size - 1)) if asked else (0, size - 1)
    if asked and not start <= end:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"})
    blocks = _blocks_async if isinstance(request, ASGIRequest) else _blocks
    response = StreamingHttpResponse(
        blocks(path, start, end + 1),
        status=206 if asked else 200,
        content_type="application/octet-stream",
        headers={"Content-Length": str(end + 1 - start), "Accept-Ranges": "bytes"},
    )
    if asked:
        response.headers["Content-Range"] = f"bytes {start}-{end}/{size}"
    if name is not None:
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _blocks(path: Path, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while start < end and (block := file.read(min(_BLOCK, end - start))):
            start += len(block)
            yield block


async def _blocks_async(path: Path, start: int, end: int) -> AsyncIterator[bytes]:
    blocks = _blocks(path, start, end)
    while block := await asyncio.to_thread(next, blocks, b""):
        yield block
