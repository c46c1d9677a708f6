"""uvicorn's HTTP, with what it lacks: limits on a request's head, and an end that loses nothing."""

from asyncio import TimerHandle, Transport

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 << 10
HEAD_S = 20
LINGER_S = 0.5


class Protocol(HttpToolsProtocol):
    """A connection; uvicorn alone would wait for a head for ever, and keep whatever comes of it."""

    _timer: TimerHandle | None = None  # runs while a head, or what an early answer cut, is due
    _overhead = 0  # bytes since a message began or a piece of a body came: a head, trailers
    _advanced = False  # one of these was in the bytes at hand

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._advanced = False
        super().data_received(data)
        self._overhead = 0 if self._advanced else self._overhead + len(data)
        if self._overhead > HEAD_BYTES:
            self._stop_waiting()
            self.send_400_response("The request's head is too large.")
        elif not (self._timer or self.timeout_keep_alive_task or self._in_work()):
            self._await(self.timeout_keep_alive)  # which uvicorn ends at any byte

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._advanced = True
        self._await(HEAD_S)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._timer:  # else it is a trailer, which nobody reads
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._advanced = True
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._advanced = True
        super().on_body(body)

    def shutdown(self) -> None:
        """Close, but for what is in work or, as may be, on its way."""
        if self._in_work():
            super().shutdown()
        else:
            self.loop.call_later(LINGER_S, super().shutdown)

    def _in_work(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await(self, seconds: float) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        if self._in_work():  # the request before
            self._await(HEAD_S)
        else:
            self.transport.close()

    def _stop_waiting(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
