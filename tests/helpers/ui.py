"""The pages of a project, from the real server in a process of its own.

Example:

    with serve_ui(project) as server:                    # python -m ops.ui --port 0
        assert server.ask("/index.html").status == 200   # with the token's cookie
        page.goto(server.link)                           # a browser is let in by the token
"""

import http.client
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from tests.helpers.project import Project
from tests.helpers.servers import DEADLINE_S, Answer
from tests.helpers.wait import until


@dataclass(frozen=True)
class UiServer:
    """`link` is the printed address, with the token."""

    link: str
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def url(self) -> str:
        return self.link.partition("/?")[0]

    @property
    def token(self) -> str:
        return self.link.partition("?token=")[2]

    @property
    def cookie(self) -> str:
        return f"digits-{urlsplit(self.url).port}={self.token}"

    def ask(self, path: str, fields: Mapping[str, str] | None = None, **headers: str) -> Answer:
        """GET, or POST a form as one of the server's own pages does; a header of "" is left out."""
        parts = urlsplit(self.url)
        given = {"Cookie": self.cookie, "Host": parts.netloc}
        if fields is not None:
            given |= {"Origin": self.url, "Content-Type": "application/x-www-form-urlencoded"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(parts.netloc, timeout=DEADLINE_S)
        try:
            body = None if fields is None else urlencode(fields)
            sent = {name: value for name, value in given.items() if value}
            connection.request("GET" if fields is None else "POST", path, body, sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()


@contextmanager
def serve_ui(
    project: Project, *words: str, start: Sequence[str] = ("-m", "ops.ui"), **environment: str
) -> Iterator[UiServer]:
    """`python -m ops.ui` on a free port of the project's folder; Ctrl-C ends it."""
    log = project.folder.parent / f"ui-{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["python", *start, "--port", "0", *words],
            cwd=project.folder,
            env=project.environment | environment,
            stdout=output,
            stderr=output,
        )
    try:

        def link() -> str | None:
            assert process.poll() is None, log.read_text()
            found = re.search(r"http://\S+token=\S+", log.read_text())
            return found and found[0]

        yield UiServer(until(link), process, log)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(timeout=DEADLINE_S)
            assert code in (0, -signal.SIGKILL), log.read_text()  # a test may kill it
        finally:
            process.kill()
