"""The first process of a training container on SageMaker: python3 -m ops.tools.sagemaker.container

It keeps SageMaker's contract, so that the stage does not depend on SageMaker:

    /opt/ml/input/config/hyperparameters.json   the stage, its parameters, its outputs, digests
    /opt/ml/input/config/resourceconfig.json    this host and the others
    /opt/ml/input/data/code, data               the channels: this code, and the prepared data
    /opt/ml/checkpoints                         kept in S3: a training resumes from there
    /opt/ml/model                               becomes model.tar.gz, with a manifest of digests
    /opt/ml/output/failure                      the reason of a failure, up to 1,024 characters

Any image with Python 3.11 or later and PyTorch works. Other packages that the stage imports are
installed from PyPI at the start, into a separate folder, unless the image has the pinned versions.
Several hosts find each other through torchrun. SIGTERM is passed on to the stage; the last whole
epoch is in the checkpoints.

Exit code 0: complete. 143: ended by SIGTERM. Any other: the exit code of the stage that failed.
Before the packages are installed, this module uses only the standard library.
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

ROOT = "SAGEMAKER_BASE_DIR"  # environment variable: a folder to use instead of /opt/ml
CHANNELS = ("code", "data")
REQUIREMENTS = "requirements-container.txt"  # in the code: pins of the packages to import
CONSTRAINTS = "constraints.txt"  # pins of their dependencies
MANIFEST = "manifest.json"
PORT = 29400  # of torchrun's rendezvous, on the first host

GRACE_S = 100  # after SIGTERM; SageMaker kills the container after 120
RESOLVE_S = 300  # until the names of the other hosts must resolve
MAX_REASON = 1024  # characters; SageMaker's limit
TAIL = 200  # lines of the log that are searched for the reason
TERMINATED = ("ended by SIGTERM; the last whole epoch is in the checkpoints", 143)


@dataclass(frozen=True)
class Job:
    """A training job, as SageMaker describes it to this host."""

    stage: str
    params: dict[str, Any]  # sections of params.yaml
    outputs: dict[str, str]  # file in /opt/ml/model, by option of the stage
    digests: dict[str, str]  # by channel
    work: str  # digest of everything that decides the result
    hosts: tuple[str, ...]
    host: str
    interface: str | None


class Child:
    """The program that runs now. It gets our SIGTERM, and is killed if it ignores it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.terminated = False
        signal.signal(signal.SIGTERM, self.pass_on)
        signal.signal(signal.SIGALRM, self.kill)

    def pass_on(self, number: int, frame: FrameType | None) -> None:
        if self.process is None:
            raise Ended(*TERMINATED)
        self.terminated = True
        signal.alarm(GRACE_S)
        self.process.terminate()

    def kill(self, number: int, frame: FrameType | None) -> None:
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)

    def run(self, words: Sequence[str | Path], **options: Any) -> None:
        """Run a program to its end, and print its output line by line.

        Raises `Ended` if its exit code is not 0, also after SIGTERM.
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
        if code and self.terminated:
            raise Ended(*TERMINATED)
        if code:
            raise Ended(find_reason(tail), code if code > 0 else 128 - code)


class Ended(Exception):
    """The job ended without a result; has the reason and the exit code."""

    def __init__(self, reason: str, code: int = 1) -> None:
        super().__init__(reason)
        self.code = code


def main() -> None:
    root = Path(os.environ.get(ROOT, "/opt/ml"))
    try:
        train(root, Child())
    except Exception as error:  # SageMaker shows only what this writes
        if not isinstance(error, Ended | UserError | OSError):
            traceback.print_exc()
        print(f"failed: {error}", file=sys.stderr, flush=True)
        write_failure(root, str(error) or repr(error))
        sys.exit(error.code if isinstance(error, Ended) else 1)


def train(root: Path, child: Child) -> None:
    if sys.version_info < (3, 11):  # noqa: UP036  # the image may be older; this line works from 3.10
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
            environment |= rendezvous(job)
        (folder / "params.yaml").write_text(json.dumps(job.params), encoding="utf-8")
        words = {"params": folder / "params.yaml", "data": data}
        words |= {option: root / "model" / name for option, name in job.outputs.items()}
        words["resume"] = root / "checkpoints" / "resume"  # the stage removes it at the end
        for path in words.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        options = [word for name, path in words.items() for word in (f"--{name}", str(path))]
        launch = [sys.executable, "-m", "ops.launch", job.stage, *options]
        child.run(launch, cwd=folder, env=environment)
    if job.host == job.hosts[0]:
        write_manifest(root / "model", job)


def read_job(root: Path) -> Job:
    """Read SageMaker's configuration; raises `InputError` if it is not of a job of ours."""
    config = root / "input" / "config"
    try:
        hyperparameters = json.loads((config / "hyperparameters.json").read_bytes())
        resources = json.loads((config / "resourceconfig.json").read_bytes())
        return Job(
            stage=hyperparameters["stage"],
            params={
                name.removeprefix("params."): json.loads(value)
                for name, value in hyperparameters.items()
                if name.startswith("params.")
            },
            outputs=json.loads(hyperparameters["outputs"]),
            digests={channel: hyperparameters[channel] for channel in CHANNELS},
            work=hyperparameters["work"],
            hosts=tuple(sorted(resources["hosts"])),
            host=resources["current_host"],
            interface=resources.get("network_interface_name"),
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{config} is not of a job that ops.launch created: {type(error).__name__}: {error}"
        ) from None


def check_channel(root: Path, name: str, digest: str) -> Path:
    """A channel's folder; raises `InputError` if its files are not those that were uploaded."""
    folder = root / "input" / "data" / name
    actual = tree_digest(folder_digests(folder))
    if actual != digest:
        raise InputError(f"{folder} differs from what was uploaded: {actual}, not {digest}")
    return folder


def folder_digests(folder: Path) -> dict[str, str]:
    """The sha256 of each file in a folder, by its path in the folder."""
    return {
        path.relative_to(folder).as_posix(): files.sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def tree_digest(digests: Mapping[str, str]) -> str:
    """One digest of files and their names."""
    return hashlib.sha256(files.canonical_json(dict(digests)).encode()).hexdigest()


def install(requirements: Path, target: Path, child: Child) -> None:
    """Install the pinned packages, unless this Python has all of them in these versions."""
    lines = requirements.read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines)
    torch, pinned = version_of("torch"), pins.pop("torch")
    if torch is None:
        raise InputError("the image lacks PyTorch; set another compute.sagemaker.image")
    if torch.partition("+")[0] != pinned:  # the rest names a build
        print(f"PyTorch is {torch}, not {pinned}: the results may differ", flush=True)
    missing = [name for name, pin in pins.items() if version_of(name) != pin]
    if not missing:
        return
    print(f"installing packages that the image lacks: {', '.join(missing)}", flush=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--no-cache-dir"]
    pip += ["--disable-pip-version-check", "--root-user-action=ignore"]
    pip += ["--target", str(target), "--constraint", str(requirements.with_name(CONSTRAINTS))]
    child.run([*pip, *(f"{name}=={pin}" for name, pin in pins.items())])


def version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def rendezvous(job: Job) -> dict[str, str]:
    """Wait until the names of all hosts resolve. Returns torchrun's settings to connect them."""
    deadline = time.monotonic() + RESOLVE_S
    for host in job.hosts:
        if not resolves(host):
            print(f"waiting for {host}", flush=True)
        while not resolves(host):
            if time.monotonic() > deadline:
                raise InputError(f"the name of the host {host} did not resolve in {RESOLVE_S} s")
            time.sleep(0.5)
    variables = {
        "PET_NNODES": str(len(job.hosts)),
        "PET_NODE_RANK": str(job.hosts.index(job.host)),
        "PET_MASTER_ADDR": job.hosts[0],
        "PET_MASTER_PORT": str(PORT),
    }
    if job.interface in [name for _, name in socket.if_nameindex()]:
        variables |= {"GLOO_SOCKET_IFNAME": job.interface, "NCCL_SOCKET_IFNAME": job.interface}
    return variables


def resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, PORT)
    except OSError:
        return False
    return True


def write_manifest(model: Path, job: Job) -> None:
    """Write the digests of the model folder's files, and the digest of the work."""
    digests = folder_digests(model)
    if missing := set(job.outputs.values()) - set(digests):
        raise InputError(f"{job.stage} succeeded, but did not write {', '.join(sorted(missing))}")
    manifest = {"work": job.work, "files": {name: digests[name] for name in job.outputs.values()}}
    files.write(model / MANIFEST, files.canonical_json(manifest))


def lines(stream: IO[bytes]) -> Iterator[str]:
    """Lines as they arrive, also those of a progress bar, which end with a carriage return."""
    rest = b""
    while chunk := os.read(stream.fileno(), 1 << 16):
        *whole, rest = re.split(rb"[\r\n]", rest + chunk)
        yield from filter(None, (line.decode(errors="replace").rstrip() for line in whole))
    if rest.strip():
        yield rest.decode(errors="replace").rstrip()


def find_reason(tail: Iterable[str]) -> str:
    """The reason of a failure: our own error with its indented lines, or else the log's end."""
    tail = list(tail)
    for i, line in enumerate(tail):
        if line.startswith("error: "):
            more = itertools.takewhile(lambda line: line.startswith("  "), tail[i + 1 :])
            return "\n".join([line.removeprefix("error: "), *more])
    return "\n".join(tail)[-MAX_REASON:] or "it failed without any output"


def write_failure(root: Path, reason: str) -> None:
    try:
        files.write(root / "output" / "failure", reason[:MAX_REASON])
    except OSError as error:  # a full disk: SageMaker still gets the exit code
        print(f"{root / 'output' / 'failure'} can't be written: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
