"""Read a request's body within limits of size and time."""

import asyncio
from dataclasses import dataclass

from fastapi import Request

from serving.problem_details import Problem

BODY_BYTES = 8 << 20
BODY_S = 20  # for a body to arrive
ARRIVING_BYTES = 256 << 20  # of all bodies that are arriving


@dataclass
class ArrivingBodies:
    """How much of all the bodies that are arriving is in memory."""

    size: int = 0  # bytes


async def read(request: Request, arriving: ArrivingBodies) -> bytes:
    """Receive the body.

    Parameters
    ----------
    request : its body is not read yet
    arriving : shared by all requests; counts this body until it is complete

    Raises
    ------
    Problem
        415 if the body is compressed, 413 if it is larger than `BODY_BYTES`, 408 if it takes longer
        than `BODY_S`, 429 if all arriving bodies together are larger than `ARRIVING_BYTES`.
    """
    if "content-encoding" in request.headers:
        raise Problem(
            415, "compressed bodies are not supported", [("Content-Encoding", "not supported")]
        )
    if int(request.headers.get("content-length", 0)) > BODY_BYTES:
        raise _too_large()
    chunks, size = [], 0
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                chunks.append(chunk)
                size += len(chunk)
                arriving.size += len(chunk)
                if size > BODY_BYTES:
                    raise _too_large()
                if arriving.size > ARRIVING_BYTES:
                    detail = "too many large bodies are arriving"
                    raise Problem(429, detail, headers={"Retry-After": "1"})
    except TimeoutError:
        raise Problem(408, f"the body did not arrive within {BODY_S} s") from None
    finally:
        arriving.size -= size
    return b"".join(chunks)


def _too_large() -> Problem:
    return Problem(413, f"the body is larger than {BODY_BYTES:,} bytes")
