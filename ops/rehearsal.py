"""Rehearse production on this machine, without an account or a network: digits rehearsal

Starts an S3 server, makes a Git server, and follows a model through its life, in a scratch copy of
the last commit: push, promote, deploy, serve, a worse change, a better one, and back. It prints
each command as you would type it. Nothing of yours changes: neither this repository nor its
remotes, tags and settings. At the end, and after Ctrl-C, all that it made is removed.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from digits.core import command_line, errors
from digits.core.errors import InputError, Unreachable
from ops.tools import git, local_s3, processes

BUCKET = "digits"
DEPLOYED = f"s3://{BUCKET}/deployed"
START_S = 300  # it takes 3 s on an idle machine
POLL_S = 0.2
# The user's settings, which a rehearsal must not follow: others' buckets, keys, hooks, backends.
SETTINGS = ("AWS_", "DVC_", "GIT_", "DIGITS_")
NO_PROXY = urllib.request.ProxyHandler({})
BLOCKED = 1  # the gate's exit code


@dataclass(frozen=True)
class Scene:
    """Some commands and what they are for; the last one ends with `code`, the others with 0.

    `answers` is the version that the server must answer with afterwards, if it runs by then.
    """

    title: str
    text: str
    commands: tuple[str, ...]
    code: int = 0
    answers: str = ""


SCENES = (
    Scene(
        "A place for data and models",
        "The bucket keeps data and models, the Git server keeps code, metrics and tags. There is "
        "nothing else to host. The remote is tried before it is written to .dvc/config.",
        (
            "git remote add origin ../server.git",
            f"digits remote s3://{BUCKET}/storage",
            'git commit --quiet --all -m "Where data and models are kept"',
        ),
    ),
    Scene(
        "A model",
        "DVC runs the pipeline on the bundled digits. Git gets the metrics and the digests of data "
        "and model, the bucket gets the files.",
        (
            "digits experiment demo --set-param train.epochs=8",
            "git add --all",
            'git commit --quiet -m "A first model"',
            "git push --quiet --set-upstream origin main",
            "dvc push",
        ),
    ),
    Scene(
        "Promote",
        "The gate checks the model against the limits in params.yaml, and reads it back from the "
        "bucket. Two tags record the version and that it is in production, with the evidence.",
        ("digits registry promote --version 1.0.0", "git ls-remote --tags origin"),
    ),
    Scene(
        "Deploy",
        "The model is copied, read back and tested. Only then does production.json name it. Then "
        "a batch: images in, a table out.",
        (
            f"digits deploy --to {DEPLOYED}",
            f"digits predict data/prepared/test-images.npy s3://{BUCKET}/answers.csv "
            f"--model {DEPLOYED}",
        ),
        answers="v1.0.0",
    ),
    Scene(
        "A change that is worse",
        "A single epoch is too few. The gate compares both models on the same test images and "
        "blocks (exit code 1), so nothing is promoted.",
        (
            "dvc exp run --quiet --name hasty --set-param train.epochs=1",
            "digits gate --base main",
        ),
        code=BLOCKED,
    ),
    Scene(
        "A change that is no worse",
        "Back to what is committed; now the labels are smoothed less. The gate passes, so this "
        "becomes the next version. The server takes it over between two requests.",
        (
            "git checkout --quiet .",
            "dvc exp run --quiet --name sharper --set-param train.label_smoothing=0.05",
            "digits gate --base main",
            'git commit --quiet --all -m "Less label smoothing"',
            "git push --quiet",
            "dvc push",
            "digits registry promote",
            f"digits deploy --to {DEPLOYED}",
        ),
        answers="v1.1.0",
    ),
    Scene(
        "Back",
        "Somebody finds a fault. The former version returns, and the reason is on record.",
        (
            'digits registry rollback --reason "reads 7 as 1"',
            f"digits deploy --to {DEPLOYED}",
            "digits registry history",
        ),
        answers="v1.0.0",
    ),
)


def shown(scene: Scene, port: int) -> Iterator[str]:
    """A scene's commands as a person types them, with what is to be expected as comments."""
    *others, last = scene.commands
    yield from others
    yield last + (f"  # exit code {scene.code}" if scene.code else "")
    if scene is next(scene for scene in SCENES if scene.answers):
        yield f"python -m {shlex.join(serving(port))} &"
    if scene.answers:
        yield f"curl {version_url(port)}  # {scene.answers}"


def serving(port: int) -> list[str]:
    return ["serving", "--model", DEPLOYED, "--port", str(port), "--poll", "0.5"]


def version_url(port: int) -> str:
    return f"http://127.0.0.1:{port}/version"


def main() -> None:
    command_line.parser("ops.rehearsal", __doc__).parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # cleans up, as after Ctrl-C
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rehearsal-", ignore_cleanup_errors=True) as temporary:
        scratch = Path(temporary)
        own = own_environment(scratch)
        os.environ.clear()
        os.environ.update(own)
        print(f"A scratch copy of this commit is in {scratch}/digits. An S3 server starts ...")
        with local_s3.serve(BUCKET) as endpoint:
            settings = local_s3.environment(endpoint)
            environment = {**own, **settings}
            project = copy_commit(scratch, environment)
            print(style("\n$ export " + " ".join(f"{k}={v}" for k, v in settings.items()), "1"))
            play(project, environment)
    seconds = time.monotonic() - begin
    print(f"\nThat was all, in {seconds:.0f} s; the copy, the bucket and both servers are removed.")
    print("With a bucket of your own: make remote URL=s3://bucket/path; see docs/how-to/s3.md")


def own_environment(scratch: Path) -> dict[str, str]:
    """An environment without the user's settings for Git, DVC and AWS."""
    programs = sysconfig.get_path("scripts")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(SETTINGS)}
    for name in ("git", "aws", "credentials"):
        (scratch / name).write_text("")
    return environment | {
        "PATH": f"{Path(sys.executable).parent}:{programs}:{os.environ['PATH']}",
        "GIT_CONFIG_GLOBAL": str(scratch / "git"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "DVC_GLOBAL_CONFIG_DIR": str(scratch / "dvc"),
        "DVC_SYSTEM_CONFIG_DIR": str(scratch / "dvc"),
        "DVC_SITE_CACHE_DIR": str(scratch / "site"),
        "AWS_CONFIG_FILE": str(scratch / "aws"),
        "AWS_SHARED_CREDENTIALS_FILE": str(scratch / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "DIGITS_COMPUTE_BACKEND": "local",
        "DIGITS_COMPUTE_WORKERS": os.environ.get("DIGITS_COMPUTE_WORKERS", "auto"),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def copy_commit(scratch: Path, environment: Mapping[str, str]) -> Path:
    """Make a repository of the files of HEAD, and a bare one next to it."""
    project = scratch / "digits"
    project.mkdir()
    git.run("archive", f"--output={scratch}/digits.tar", "HEAD")
    shutil.unpack_archive(scratch / "digits.tar", project, filter="data")
    for words in (
        ["init", "--quiet", "--bare", "--initial-branch=main", str(scratch / "server.git")],
        ["init", "--quiet", "--initial-branch=main"],
        ["config", "--global", "user.name", "Rehearsal"],
        ["config", "--global", "user.email", "rehearsal@example.com"],
        ["add", "--all"],
        ["commit", "--quiet", "-m", "A copy for the rehearsal"],
    ):
        git.run(*words, folder=project, environment=environment)
    return project


def play(project: Path, environment: Mapping[str, str]) -> None:
    """Run the scenes; the server starts when the first of them expects an answer."""
    port = local_s3.free_ports(1)[0]
    with ExitStack() as stack:
        is_serving = False
        for number, scene in enumerate(SCENES, 1):
            print(style(f"\n{number}. {scene.title}", "1;36"))
            print(textwrap.fill(scene.text, 90), flush=True)
            for command in scene.commands:
                is_last = command == scene.commands[-1]
                run(command, project, environment, scene.code if is_last else 0)
            if scene.answers and not is_serving:
                stack.enter_context(served(project, environment, port))
                is_serving = True
            if scene.answers:
                ask(port, scene.answers)


@contextmanager
def served(project: Path, environment: Mapping[str, str], port: int) -> Iterator[None]:
    """Run the server until the block ends, or this process does."""
    words = serving(port)
    print(style(f"\n$ python -m {shlex.join(words)} &", "1"), flush=True)
    with open(project.parent / "serving.log", "wb") as log:
        process = processes.start_owned(words, log, environment, project)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def ask(port: int, version: str) -> None:
    """Wait until the server answers with a version; raises `Unreachable` if it never does."""
    url = version_url(port)
    print(style(f"\n$ curl {url}", "1"), flush=True)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.build_opener(NO_PROXY).open(url, timeout=10) as page:
            answer = json.load(page)
            if answer["version"] == version:
                print(json.dumps({name: answer[name] for name in ("version", "tag", "model")}))
                return
        time.sleep(POLL_S)
    raise Unreachable(f"{url} did not name {version} within {START_S} s")


def run(command: str, project: Path, environment: Mapping[str, str], code: int) -> None:
    """Show a command and run it; raises `InputError` unless it ends with the code."""
    print(style(f"\n$ {command}", "1"), flush=True)
    words = ["sh", "-c", command]
    process = subprocess.Popen(words, cwd=project, env=environment, start_new_session=True)
    try:
        ended = process.wait()
    finally:  # also after Ctrl-C, so that nothing is written to a folder that is being removed
        processes.kill_group(process)
    if ended != code:
        raise InputError(
            f"{command!r} ended with {ended}, not {code}; its message is above. All is removed"
        )


def style(text: str, codes: str) -> str:
    return f"\033[{codes}m{text}\033[0m" if sys.stdout.isatty() else text


if __name__ == "__main__":
    errors.run(main)
