"""uvicorn's HTTP protocol with limits on a request's head, and a shutdown that loses no request.

A client may offer to go on in another protocol; Java's HttpClient offers HTTP/2 with each request.
The offer is ignored, as RFC 9110, 7.8 allows, and the request is answered like any other. uvicorn
alone would lose its body.
"""

from asyncio import AbstractEventLoop, TimerHandle, Transport
from collections.abc import Iterable, Sized
from typing import Any

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_BYTES = 64 << 10
HEAD_S = 20  # for a head to arrive
ANSWER_S = 60  # for a client to read an answer that is larger than the buffers
CYCLE = "digits.cycle"  # in the scope of a request: what uvicorn knows of it
LINGER_S = 0.5  # at shutdown, for a request that is on its way


class PairingTransport:
    """Sends each two writes in the same turn of the event loop as one.

    uvicorn writes the head of a response, then its body. Each would cost a system call, and wake
    the client.
    """

    def __init__(self, transport: Transport, loop: AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._first = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._first:
            data, self._first = self._first + data, b""
            self._transport.write(data)
        else:
            self._first = data
            self._loop.call_soon(self._flush)

    def write_now(self, data: bytes) -> None:
        self._transport.write(self._first + data)
        self._first = b""

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._first and not self._transport.is_closing():
            self._transport.write(self._first)
        self._first = b""


class PatientFlow(FlowControl):
    """Reads no further while requests wait for the answers to those before them.

    uvicorn reads on after each answer, though what it reads may be a thousand more requests.
    """

    def __init__(self, transport: Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if not self._waiting:
            super().resume_reading()


class HttpProtocol(HttpToolsProtocol):
    """One connection. uvicorn alone would wait for a head forever, and keep a head of any size.

    It would also keep an answer for as long as the client does not read it.
    """

    _timer: TimerHandle | None = None  # set while a head, or a body answered early, is expected
    _reading: TimerHandle | None = None  # set while the client has to read
    _in_head = False  # the head of a request has begun to arrive
    _overhead = 0  # bytes of head or trailers since the last message start or piece of a body
    _advanced = False  # the bytes just received had a message start, a head's end or body in them

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(PairingTransport(transport, self.loop))  # type: ignore[arg-type]
        self.flow = PatientFlow(self.transport, self.pipeline)
        self._start_timer(HEAD_S)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading = self.loop.call_later(ANSWER_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_reading()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._advanced = False
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._stop_timer()
            self.send_400_response("Invalid HTTP request received.")
            return
        if self._in_head and not self._timer:  # here, since most heads arrive whole and need none
            self._start_timer(HEAD_S)
        self._overhead = 0 if self._advanced else self._overhead + len(data)
        if self._overhead > HEAD_BYTES:
            self._stop_timer()
            self.send_400_response("The request's head is too large.")
        elif not (self._timer or self.timeout_keep_alive_task or self._is_answering()):
            self._start_timer(self.timeout_keep_alive)  # uvicorn's own timer stops at any byte

    def _parse(self, data: bytes) -> None:
        """Parse bytes; where a head with an offer makes the parser stop, go on without the offer.

        Raises
        ------
        httptools.HttpParserError
            If they are not HTTP, or a CONNECT: this server is no proxy.
        """
        rest = memoryview(data)
        while rest:
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
            head = self._head_without_offer()
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn
            try:
                self.parser.feed_data(head)
            except httptools.HttpParserUpgrade:
                raise httptools.HttpParserError("CONNECT") from None

    def _head_without_offer(self) -> bytes:
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (method, self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._advanced = self._in_head = True
        self._stop_timer()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # or else this is a trailer, which nobody reads
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._advanced, self._in_head = True, False
        self._stop_timer()
        if not self.parser.should_upgrade():
            super().on_headers_complete()
            self.scope[CYCLE] = self.cycle  # type: ignore[literal-required]

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        self._advanced = True
        super().on_body(body)

    def shutdown(self) -> None:
        """Close the connection after the request in progress, or one that may be on its way."""
        if self._is_answering():
            super().shutdown()
        else:
            self.loop.call_later(LINGER_S, super().shutdown)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self._time_out)

    def _time_out(self) -> None:
        if self._is_answering():  # the previous request
            self._start_timer(HEAD_S)
        else:
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading.cancel()
            self._reading = None


def arrived_body(scope: Scope) -> bytes | None:
    """The body of a request, if all of it has arrived with the head; it needs no waiting."""
    cycle = scope.get(CYCLE)
    return None if cycle is None or cycle.more_body else bytes(cycle.body)


def respond(scope: Scope, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
    """Send a complete response in one write, as uvicorn would, which takes longer to check it.

    Returns False, and sends nothing, if the client is slow or gone or the connection has to close.
    """
    cycle = scope.get(CYCLE)
    if cycle is None or not cycle.keep_alive or cycle.disconnected or cycle.flow.write_paused:
        return False
    lines = [b"%b: %b\r\n" % header for header in (*cycle.default_headers, *headers)]
    cycle.transport.write_now(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
    cycle.waiting_for_100_continue = False
    cycle.response_started = cycle.response_complete = True
    cycle.message_event.set()
    cycle.on_response()
    return True
