"""S3 servers on this machine, and a proxy before one that fails as it is told to.

moto is the quickest to start, SeaweedFS (`bucket`) is a product, rclone has no conditional writes.

Example:

    def test_a_model_out_of_reach(s3_proxy: Proxy, bucket: str) -> None:     # fixtures
        s3_proxy.fail("unavailable")         # until s3_proxy.heal()
        places.read(places.find(bucket), "production.json")
"""

import http.client
import logging
import socket
import subprocess
import sysconfig
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ops.tools import local_s3
from tests.helpers.wait import until

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
REFUSALS = {
    "unavailable": (503, "ServiceUnavailable"),
    "forbidden": (403, "AccessDenied"),
}


@contextmanager
def moto() -> Iterator[str]:
    """moto's S3; its URL."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # else a line a request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


@contextmanager
def rclone(folder: Path) -> Iterator[str]:
    """rclone's S3 server, which ignores the conditions of a write; its URL. Buckets are folders."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*free.getsockname())
    program = Path(sysconfig.get_path("scripts"), "rclone")
    words = [program, "serve", "s3", "--addr", address, "--auth-key", "test,test", folder]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://{address}"
            until(lambda: _answers(address))
            yield url
        finally:
            process.kill()


def _answers(address: str) -> bool:
    host, _, port = address.partition(":")
    with socket.socket() as link:
        return not link.connect_ex((host, int(port)))


@dataclass
class Proxy:
    """Passes requests on to a server. `fault` names what happens to one, or nothing.

    unavailable, forbidden    S3's answers 503 and 403
    silent                    no answer until the proxy closes
    cut                       the connection ends in the middle of the request's body
    unanswered                the server gets the request, and the connection ends
    truncated, shorter        half of the answer's body; the length says so, or does not
    flipped                   a bit of the answer's body
    trickling                 the answer, a byte at a time, with waits
    """

    upstream: str
    # An answer (status, body) in the server's place, to (method, path, headers, body); or None.
    instead: Callable[[str, str, Mapping[str, str], bytes], tuple[int, bytes] | None] = (
        lambda method, path, headers, body: None
    )
    fault: Callable[[str, str], str | None] = lambda method, path: None
    before: Callable[[str, str], None] = lambda method, path: None
    after: Callable[[str, str], None] = lambda method, path: None
    url: str = ""
    seen: list[str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def fail(self, fault: str, method: str = "", path: str = "", times: int = 10**6) -> None:
        """Have the next requests fail that have this method and this in their path."""
        left = [times]

        def decide(its_method: str, its_path: str) -> str | None:
            if method in ("", its_method) and path in its_path and left[0]:
                left[0] -= 1
                return fault
            return None

        self.fault = decide

    def heal(self) -> None:
        self.fault = lambda method, path: None


@contextmanager
def proxy(upstream: str) -> Iterator[Proxy]:
    found = Proxy(upstream.removeprefix("http://"))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else an answer's body waits 40 ms for its head to arrive

        def pass_on(self) -> None:
            found.seen.append(f"{self.command} {self.path}")
            length = int(self.headers.get("Content-Length") or 0)
            match fault := found.fault(self.command, self.path):
                case "cut":
                    self.rfile.read(length // 2)
                    return self.end()
                case "silent":
                    self.rfile.read(length)
                    found.closing.wait()
                    return self.end()
                case "unavailable" | "forbidden":
                    self.rfile.read(length)
                    return self.refuse(*REFUSALS[fault])
            body = self.rfile.read(length)
            found.before(self.command, self.path)
            if own := found.instead(self.command, self.path, self.headers, body):
                return self.answer(*own)
            server = http.client.HTTPConnection(found.upstream, timeout=30)
            server.request(self.command, self.path, body, dict(self.headers.items()))
            answer = server.getresponse()
            content = answer.read()
            server.close()
            found.after(self.command, self.path)
            announced = len(content)
            if fault == "unanswered":
                return self.end()
            if fault in ("truncated", "shorter"):
                content = content[: len(content) // 2]
            if fault == "shorter":
                announced = len(content)
            if fault == "flipped":
                content = bytes([content[0] ^ 1]) + content[1:]
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "connection", "date", "server"):
                    self.send_header(name, value)
            if self.command == "HEAD":
                announced = int(answer.getheader("Content-Length") or 0)
            self.send_header("Content-Length", str(announced))
            self.end_headers()
            if fault == "trickling":
                for byte in content:
                    self.wfile.write(bytes([byte]))
                    found.closing.wait(0.1)
            else:
                self.wfile.write(content)
            if fault == "truncated":
                self.end()

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = pass_on

        def refuse(self, status: int, code: str) -> None:
            text = f"<Error><Code>{code}</Code><Message>as told</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(0 if self.command == "HEAD" else len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def end(self) -> None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *words: None  # type: ignore[method-assign]  # a client that was killed
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    found.url = "http://{}:{}".format(*server.server_address[:2])
    try:
        yield found
    finally:
        found.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Bucket:
    """A bucket, and what lies in it, past all that is tested."""

    endpoint: str
    name: str
    client: Any

    def stored(self) -> set[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return {item["Key"] for page in pages for item in page.get("Contents", [])}

    def read(self, key: str) -> bytes:
        found: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return found

    def write(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=content)


@contextmanager
def bucket(name: str = "digits") -> Iterator[Bucket]:
    """A SeaweedFS of its own with a bucket in it, for the user of `CREDENTIALS`."""
    import boto3

    with local_s3.serve(name, {CREDENTIALS["AWS_ACCESS_KEY_ID"]: local_s3.EVERYTHING}) as endpoint:
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )
        yield Bucket(endpoint, name, client)
        client.close()
