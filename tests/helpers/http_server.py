"""A small HTTP server on this machine, which answers as a handler does, or with a folder's files.

Example:

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self.send_error(503)

    with answer_http(Handler) as url:
        urlopen(url)
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class QuietHandler(BaseHTTPRequestHandler):
    """Writes no log."""

    def log_message(self, *_: object) -> None:
        pass


class FileHandler(QuietHandler, SimpleHTTPRequestHandler):
    """Answers with the files of a folder."""


def answer_files(folder: Path) -> AbstractContextManager[str]:
    """The URL of a server of a folder's files, without a slash at its end."""
    return answer_http(partial(FileHandler, directory=str(folder)))


@contextmanager
def answer_http(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """The server's URL, without a slash at its end."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
