"""Read a request's body, compressed or not, within limits of size and time."""

import asyncio
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from serving import http_protocol
from serving.problem_details import Problem

BODY_BYTES = 8 << 20  # as it arrives, and decompressed
BODY_S = 20  # for a body to arrive
ARRIVING_BYTES = 256 << 20  # of all bodies that are arriving, decompressed
CODINGS = ("gzip", "deflate")
MAGIC = {  # how compressed bodies begin; the header that says so is easily forgotten
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
}
PIECE_BYTES = 256 << 10  # decompressed at once, so that a bomb is noticed early
MEMBERS = 100  # of a gzip body


@dataclass
class ArrivingBodies:
    """How much of all the bodies that are arriving is in memory."""

    size: int = 0  # bytes


async def read(request: Request, arriving: ArrivingBodies) -> bytes:
    """Receive the body, and decompress it as it arrives.

    Parameters
    ----------
    request : its body is not read yet
    arriving : shared by all requests; counts this body until it is complete

    Raises
    ------
    Problem
        415 if the body has another coding than `CODINGS`, or one that no header names; 400 if it
        can't be decompressed, 413 if it is larger than `BODY_BYTES`, 408 if it takes longer than
        `BODY_S`, 429 if all arriving bodies together are larger than `ARRIVING_BYTES`.
    """
    decompressor = _find_decompressor(request)
    arrived = http_protocol.arrived_body(request.scope)
    if arrived is not None and decompressor is None:
        _check_plain(arrived)
        return arrived
    if int(request.headers.get("content-length", 0)) > BODY_BYTES:
        raise _too_large()
    pieces, received, size = [], 0, 0
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                received += len(chunk)
                for piece in decompressor.decompress(chunk) if decompressor else (chunk,):
                    pieces.append(piece)
                    size += len(piece)
                    arriving.size += len(piece)
                    if size > BODY_BYTES or received > BODY_BYTES:
                        raise _too_large()
                    if arriving.size > ARRIVING_BYTES:
                        detail = "too many large bodies are arriving"
                        raise Problem(429, detail, headers={"Retry-After": "1"})
        if decompressor:
            decompressor.check_end()
        body = b"".join(pieces)
    except TimeoutError:
        raise Problem(408, f"the body did not arrive within {BODY_S} s") from None
    finally:
        arriving.size -= size
        pieces.clear()  # else a refusal, which has this frame, keeps them while it is sent
    if decompressor is None:
        _check_plain(body)
    return body


def _check_plain(body: bytes) -> None:
    for start, name in MAGIC.items():
        if body.startswith(start):
            header = f"add the header Content-Encoding: {name}"
            do = header if name in CODINGS else "unpack it first"
            raise _unsupported(f"the body is compressed with {name}; {do}")


class _Decompressor:
    """Decompresses gzip (one member or several) or deflate (with zlib's header or without)."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._start = b""  # kept until the kind of stream is known
        self._stream: Any = None  # zlib's
        self._members = 0

    def decompress(self, chunk: bytes) -> Iterator[bytes]:
        """Yield pieces of at most `PIECE_BYTES`; raises `Problem` 400 if the data is damaged."""
        if self._stream is None:
            self._start = chunk = self._start + chunk
            if len(chunk) < 2:
                return
            self._open_stream()
        more = bool(chunk)  # the last one of a request is empty
        while more:
            if self._stream.eof:
                self._open_stream()
            try:
                piece = self._stream.decompress(chunk, PIECE_BYTES)
            except zlib.error as error:
                raise self._damaged(str(error)) from None
            yield piece
            chunk = self._stream.unconsumed_tail or self._stream.unused_data
            more = bool(chunk) or (len(piece) == PIECE_BYTES and not self._stream.eof)

    def check_end(self) -> None:
        """Raise `Problem` 400 if the data is incomplete."""
        if self._stream is None or not self._stream.eof:
            raise self._damaged("it is incomplete")

    def _open_stream(self) -> None:
        self._members += 1
        if self._members > (MEMBERS if self._coding == "gzip" else 1):
            raise self._damaged("there is more after its end")
        if self._coding == "gzip":
            bits = 16 + zlib.MAX_WBITS
        elif self._start[0] & 15 == 8 and int.from_bytes(self._start[:2]) % 31 == 0:
            bits = zlib.MAX_WBITS  # zlib's header, as the standard demands
        else:
            bits = -zlib.MAX_WBITS  # without it, as some clients send it
        self._stream = zlib.decompressobj(bits)

    def _damaged(self, detail: str) -> Problem:
        detail = (
            f"the body is not valid {self._coding}: {detail}. Compress it again, or send it as it "
            "is, without Content-Encoding"
        )
        return Problem(400, detail, [("Content-Encoding", detail)])


def _find_decompressor(request: Request) -> _Decompressor | None:
    codings = ", ".join(request.headers.getlist("content-encoding")).lower().strip()
    coding = codings.removeprefix("x-")  # x-gzip is gzip: RFC 9110, 8.4.1.3
    if coding in ("", "identity"):
        return None
    if coding not in CODINGS:
        raise _unsupported(
            f"{codings} is not supported; compress the body with {' or '.join(CODINGS)}, or send "
            "it as it is, without Content-Encoding"
        )
    return _Decompressor(coding)


def _unsupported(detail: str) -> Problem:
    headers = {"Accept-Encoding": ", ".join(CODINGS)}
    return Problem(415, detail, [("Content-Encoding", detail)], headers)


def _too_large() -> Problem:
    return Problem(413, f"the body is larger than {BODY_BYTES:,} bytes")
