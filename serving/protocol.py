"""uvicorn's HTTP, with what it lacks: limits on a request's head, and an end that loses nothing."""

from asyncio import TimerHandle, Transport

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 << 10
HEAD_S = 20
LINGER_S = 0.5


class Protocol(HttpToolsProtocol):
    """A connection; uvicorn alone would wait for a head for ever, and keep whatever comes of it."""

    _timer: TimerHandle | None = None  # runs while a head is awaited
    _head = 0  # bytes of it

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._timer:
            self._head += len(data)
            if self._head > HEAD_BYTES:
                self._end_head()
                self.send_400_response("The request's head is too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        self._end_head()
        super().on_headers_complete()

    def shutdown(self) -> None:
        """Close, but for what is in work or, as may be, on its way."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LINGER_S, super().shutdown)
        else:
            super().shutdown()

    def _await_head(self) -> None:
        self._end_head()
        self._head = 0
        self._timer = self.loop.call_later(HEAD_S, self.transport.close)

    def _end_head(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
