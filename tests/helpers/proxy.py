"""A small reverse proxy that shows a server under a prefix, as nginx and others do.

Example:

    with prefix_proxy(server.address, "/digits", removes_prefix=True) as url:
        urlopen(f"{url}/digits/livez")
"""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager

from tests.helpers.http_server import QuietHandler, answer_http

HOP_BY_HOP = {"connection", "transfer-encoding"}


@contextmanager
def prefix_proxy(address: tuple[str, int], prefix: str, removes_prefix: bool) -> Iterator[str]:
    """The proxy's URL, without the prefix. Other paths are not found."""

    class Handler(QuietHandler):
        def forward(self) -> None:
            if not self.path.startswith(prefix):
                self.send_error(404)
                return
            path = self.path[len(prefix) :] or "/" if removes_prefix else self.path
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection = http.client.HTTPConnection(*address, timeout=60)
            connection.request(self.command, path, body or None, dict(self.headers.items()))
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_HEAD = do_POST = forward

    with answer_http(Handler) as url:
        yield url
