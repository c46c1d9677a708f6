"""A repository with a made-up past: many commits and tags at once, by one `git fast-import`.

Example:

    past = Past()
    past.commit("start", {"params.yaml": b"", **metrics(range(30))})
    past.version("v1.0.0")                                # an annotated tag of the last commit
    past.assign("production", Action="promote", Verdict="PASS: within all limits")
    past.make(folder)    
"""

import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.helpers.metrics_files import metrics_files

START = 1_750_000_000  # seconds since 1970
DAY = 86_400


def metrics(wrong: Iterable[int], **changes: Any) -> dict[str, bytes]:
    """The files of metrics/, by path; arguments as `metrics_files`."""
    return {f"metrics/{name}": text for name, text in metrics_files(wrong, **changes).items()}


class Past:
    """Each commit and each tag is a day after the one before it, if `days` does not say more."""

    def __init__(self, start: int = START) -> None:
        self.time = start
        self._stream: list[bytes] = []
        self._commits = 0
        self._tags: list[tuple[str, int]] = []

    def commit(
        self,
        subject: str,
        files: Mapping[str, bytes] | None = None,
        *,
        person: str = "Ann",
        days: float = 1,
    ) -> int:
        """Change files on main, and return the commit's mark for `tag`."""
        self.time += int(days * DAY)
        self._commits += 1
        self._say(f"commit refs/heads/main\nmark :{self._commits}\n{self._signed(person)}")
        self._data(os.fsencode(subject))
        for path, content in (files or {}).items():
            self._say(f"M 100644 inline {path}\n")
            self._data(content)
        return self._commits

    def version(self, name: str, *, mark: int | None = None, **options: Any) -> None:
        self.tag(f"digit-classifier@{name}", f"digit-classifier {name}", mark=mark, **options)

    def assign(
        self,
        stage: str,
        *,
        mark: int | None = None,
        person: str = "Ann",
        days: float = 1,
        **fields: str,
    ) -> None:
        """Assign a commit to a stage; `fields` are the lines of the message, `_` for `-`."""
        lines = [f"{key.replace('_', '-')}: {value}" for key, value in fields.items()]
        number = 1 + sum("#" in name for name, _ in self._tags)
        text = "\n".join(["digit-classifier", "", *lines, ""])
        name = f"digit-classifier#{stage}#{number}"
        self.tag(name, text, mark=mark, person=person, days=days)

    def tag(
        self,
        name: str,
        text: str,
        *,
        mark: int | None = None,
        person: str = "Ann",
        days: float = 0,
        time: int | None = None,
    ) -> None:
        """An annotated tag; without a time it is later than everything before."""
        self.time += int(days * DAY) + 1
        mark = mark or self._commits
        self._tags.append((name, mark))
        self._say(f"tag {name}\nfrom :{mark}\n{self._signed(person, 'tagger', time)}")
        self._data(os.fsencode(text))

    def light(self, name: str) -> None:
        """A tag that is not annotated."""
        self._say(f"reset refs/tags/{name}\nfrom :{self._commits}\n\n")

    def make(self, folder: Path) -> None:
        def git(*words: str, stdin: bytes = b"") -> None:
            subprocess.run(["git", *words], cwd=folder, input=stdin, check=True)

        folder.mkdir(parents=True, exist_ok=True)
        git("init", "--quiet", "--initial-branch=main")
        git("config", "user.name", "A user")
        git("config", "user.email", "user@example.com")
        git("fast-import", "--quiet", "--date-format=raw", stdin=b"".join(self._stream))
        git("reset", "--quiet", "--hard", "main")

    def _signed(self, person: str, role: str = "committer", time: int | None = None) -> str:
        return f"{role} {person} <person@example.com> {time or self.time} +0000\n"

    def _say(self, text: str) -> None:
        self._stream.append(os.fsencode(text))

    def _data(self, content: bytes) -> None:
        self._stream.append(b"data %d\n%s\n" % (len(content), content))
