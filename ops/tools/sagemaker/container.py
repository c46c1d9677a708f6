"""The first process of a training container on SageMaker: python3 -m ops.tools.sagemaker.container

It keeps the platform's contract, so that the stage need know nothing of it:

    /opt/ml/input/config/hyperparameters.json   stage, its parameters, what it writes, digests
    /opt/ml/input/config/resourceconfig.json    this host and the others
    /opt/ml/input/data/code, data               channels: these very files, and the prepared data
    /opt/ml/checkpoints                         kept in S3: a training goes on from there
    /opt/ml/model                               becomes model.tar.gz, with a manifest of digests
    /opt/ml/output/failure                      why it failed; the first 1,024 characters count

Any image with Python 3.11 or later and PyTorch will do. What else the stage imports is installed
from PyPI at the start, into a folder of its own, unless the image has those very versions. Several
hosts meet through torchrun. SIGTERM is passed on: the last whole epoch is in the checkpoints.

Exit code 0: done. 143: asked to end. Else: failed, with the stage's own code.
Until what is missing is installed, nothing but the standard library is imported.
"""

import hashlib
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import IO, Any

from digits.core import files
from digits.core.errors import InputError, UserError

ROOT = "SAGEMAKER_BASE_DIR"  # in the environment; where there is no /opt/ml
CHANNELS = ("code", "data")
REQUIREMENTS = "requirements-container.txt"  # in the code: pins of what the stage imports
CONSTRAINTS = "constraints.txt"  # and of what these pull in
MANIFEST = "manifest.json"
PORT = 29400  # of torchrun's rendezvous, on the first host

GRACE_S = 100  # from SIGTERM on; the platform kills after 120
RESOLVED_S = 300  # until the other hosts' names must be known
REASON = 1024  # characters that the platform takes
TAIL = 200  # lines of the log in which the reason is looked for
ASKED = ("asked to end (SIGTERM); the last whole epoch is in the checkpoints", 143)


@dataclass(frozen=True)
class Job:
    """What the platform was asked to do, as this host is told."""

    stage: str
    params: dict[str, Any]  # sections of params.yaml
    outputs: dict[str, str]  # option of the stage: file in /opt/ml/model
    digests: dict[str, str]  # of each channel
    work: str  # digest of all that decides the result
    hosts: tuple[str, ...]
    host: str
    interface: str | None


class Child:
    """The program that runs now; SIGTERM is passed on to it, and what ignores it is killed."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.asked_to_end = False
        signal.signal(signal.SIGTERM, self.pass_on)
        signal.signal(signal.SIGALRM, self.kill)

    def pass_on(self, number: int, frame: FrameType | None) -> None:
        if self.process is None:
            raise Ended(*ASKED)
        self.asked_to_end = True
        signal.alarm(GRACE_S)
        self.process.terminate()

    def kill(self, number: int, frame: FrameType | None) -> None:
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)

    def run(self, words: Sequence[str | Path], **options: Any) -> None:
        """Run a program to its end, its output line by line on ours.

        Raises
        ------
        Ended
            If its exit code is not 0; also of one that somebody asked to end.
        """
        tail: deque[str] = deque(maxlen=TAIL)
        self.process = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,
        )
        assert self.process.stdout is not None
        for line in lines(self.process.stdout):
            print(line, flush=True)
            tail.append(line)
        code = self.process.wait()
        self.process = None
        if code and self.asked_to_end:
            raise Ended(*ASKED)
        if code:
            raise Ended(reason(tail), code if code > 0 else 128 - code)


class Ended(Exception):
    """The end before the result; says why, and the exit code."""

    def __init__(self, why: str, code: int = 1) -> None:
        super().__init__(why)
        self.code = code


def main() -> None:
    root = Path(os.environ.get(ROOT, "/opt/ml"))
    try:
        train(root, Child())
    except Exception as error:  # the platform knows no more than it is told here
        if not isinstance(error, Ended | UserError | OSError):
            traceback.print_exc()
        print(f"failed: {error}", file=sys.stderr, flush=True)
        tell_platform(root, str(error) or repr(error))
        sys.exit(error.code if isinstance(error, Ended) else 1)


def train(root: Path, child: Child) -> None:
    if sys.version_info < (3, 11):  # noqa: UP036  # the image may have any; down to 3.10 this runs
        raise InputError(f"the image has Python {sys.version.split()[0]}; expected 3.11 or later")
    job = read_job(root)
    code, data = (check_channel(root, name, job.digests[name]) for name in CHANNELS)
    with tempfile.TemporaryDirectory(prefix="training-") as temporary:
        folder = Path(temporary)
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(map(str, [folder / "packages", code])),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DIGITS_COMPUTE_BACKEND": "local",
        }
        environment.setdefault("DIGITS_COMPUTE_WORKERS", "auto")
        environment.setdefault("DIGITS_COMPUTE_PROCESSES", "1")
        install(code / REQUIREMENTS, folder / "packages", child)
        if len(job.hosts) > 1:
            environment |= meeting(job)
        (folder / "params.yaml").write_text(json.dumps(job.params), encoding="utf-8")
        words = {"params": folder / "params.yaml", "data": data}
        words |= {option: root / "model" / name for option, name in job.outputs.items()}
        words["resume"] = root / "checkpoints" / "resume"  # removed at the end; its parent can't be
        for path in words.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        options = [word for name, path in words.items() for word in (f"--{name}", str(path))]
        launch = [sys.executable, "-m", "ops.launch", job.stage, *options]
        child.run(launch, cwd=folder, env=environment)
    if job.host == job.hosts[0]:
        write_manifest(root / "model", job)


def read_job(root: Path) -> Job:
    """The platform's configuration; raises `InputError` where it is not as we asked for."""
    asked = read_config(root, "hyperparameters.json")
    resources = read_config(root, "resourceconfig.json")
    try:
        hosts = tuple(sorted(resources["hosts"]))
        job = Job(
            stage=asked["stage"],
            params={
                name.removeprefix("params."): json.loads(value)
                for name, value in asked.items()
                if name.startswith("params.")
            },
            outputs=json.loads(asked["outputs"]),
            digests={channel: asked[channel] for channel in CHANNELS},
            work=asked["work"],
            hosts=hosts,
            host=resources["current_host"],
            interface=resources.get("network_interface_name"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{root}/input/config is not of a job that python -m ops.launch made: {error!r}"
        ) from None
    if job.host not in hosts:
        raise InputError(f"this host is {job.host!r}, which is none of {', '.join(hosts)}")
    return job


def read_config(root: Path, name: str) -> dict[str, Any]:
    path = root / "input" / "config" / name
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist; SageMaker writes it into its containers"
        ) from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} holds {found!r}; expected an object")
    return found


def check_channel(root: Path, name: str, digest: str) -> Path:
    """A channel's folder, if it is what was sent."""
    folder = root / "input" / "data" / name
    found = tree_digest(folder_digests(folder))
    if found != digest:
        raise InputError(f"{folder} is not what was sent: {found} in place of {digest}")
    return folder


def folder_digests(folder: Path) -> dict[str, str]:
    """The sha256 of each file in a folder, by its path in it."""
    return {
        path.relative_to(folder).as_posix(): files.sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def tree_digest(digests: Mapping[str, str]) -> str:
    """One digest of files and their names."""
    return hashlib.sha256(files.canonical_json(dict(digests)).encode()).hexdigest()


def install(requirements: Path, target: Path, child: Child) -> None:
    """Bring the pinned packages, unless this Python has them all in those versions."""
    lines = requirements.read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines)
    torch, wanted = version_of("torch"), pins.pop("torch")
    if torch is None:
        raise InputError("the image has no PyTorch; another compute.sagemaker.image")
    if torch.partition("+")[0] != wanted:  # the rest names a build
        print(f"PyTorch is {torch}, not {wanted}: other bytes than with that", flush=True)
    missing = [name for name, pin in pins.items() if version_of(name) != pin]
    if not missing:
        return
    print(f"installing what the image has not: {', '.join(missing)}", flush=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--no-cache-dir"]
    pip += ["--disable-pip-version-check", "--root-user-action=ignore"]
    pip += ["--target", str(target), "--constraint", str(requirements.with_name(CONSTRAINTS))]
    child.run([*pip, *(f"{name}=={pin}" for name, pin in pins.items())])


def version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def meeting(job: Job) -> dict[str, str]:
    """How torchrun brings the hosts together, once all their names are known."""
    deadline = time.monotonic() + RESOLVED_S
    for host in job.hosts:
        if not is_known(host):
            print(f"waiting for {host}", flush=True)
        while not is_known(host):
            if time.monotonic() > deadline:
                raise InputError(f"the host {host} is unknown after {RESOLVED_S} s")
            time.sleep(0.5)
    found = {
        "PET_NNODES": str(len(job.hosts)),
        "PET_NODE_RANK": str(job.hosts.index(job.host)),
        "PET_MASTER_ADDR": job.hosts[0],
        "PET_MASTER_PORT": str(PORT),
    }
    if job.interface in [name for _, name in socket.if_nameindex()]:
        found |= {"GLOO_SOCKET_IFNAME": job.interface, "NCCL_SOCKET_IFNAME": job.interface}
    return found


def is_known(host: str) -> bool:
    try:
        socket.getaddrinfo(host, PORT)
    except OSError:
        return False
    return True


def write_manifest(model: Path, job: Job) -> None:
    """Say what the model folder holds, and of which work it is."""
    digests = folder_digests(model)
    if lost := set(job.outputs.values()) - set(digests):
        raise InputError(f"{job.stage} ended well, but did not write {', '.join(sorted(lost))}")
    manifest = {"work": job.work, "files": {name: digests[name] for name in job.outputs.values()}}
    files.write(model / MANIFEST, files.canonical_json(manifest))


def lines(stream: IO[bytes]) -> Iterator[str]:
    """Lines as they come, a progress bar's too, which end with a carriage return."""
    left = b""
    while chunk := os.read(stream.fileno(), 1 << 16):
        *whole, left = re.split(rb"[\r\n]", left + chunk)
        yield from filter(None, (line.decode(errors="replace").rstrip() for line in whole))
    if left.strip():
        yield left.decode(errors="replace").rstrip()


def reason(tail: Iterable[str]) -> str:
    """What a log says of a failure: our own error with what is indented under it, else its end."""
    tail = list(tail)
    for i, line in enumerate(tail):
        if line.startswith("error: "):
            more = itertools.takewhile(lambda line: line.startswith("  "), tail[i + 1 :])
            return "\n".join([line.removeprefix("error: "), *more])
    return "\n".join(tail)[-REASON:] or "it ended without a word"


def tell_platform(root: Path, why: str) -> None:
    try:
        files.write(root / "output" / "failure", why[:REASON])
    except OSError as error:  # a full disk: the exit code still tells
        print(f"{root / 'output' / 'failure'} can't be written: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
