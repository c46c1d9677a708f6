"""The first process of a training container, on folders as the platform makes them."""

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ops.tools.sagemaker import container, training
from ops.tools.sagemaker.settings import Settings
from tests.helpers import run_stages, warm_python
from tests.helpers import sagemaker_platform as platform
from tests.helpers.small import ROOT, small_params
from tests.helpers.wait import until

pytestmark = pytest.mark.slow(20)

CHANGES = {
    "model.spatial_dropout": 0.1,
    "train.epochs": 8,
    "train.batch_size": 32,
    "train.shards": 4,  # two would give the same sum in any order
    "train.early_stopping.patience": 8,
}
LONG = CHANGES | {"train.epochs": 400, "train.early_stopping.patience": 400}
STARTED: list[subprocess.Popen[str]] = []
OUTPUTS = {"weights": "weights.safetensors", "metrics": "metrics.json", "curve": "curve.csv"}


@dataclass(frozen=True)
class Container:
    """A fake /opt/ml, and what the job was asked to do there."""

    root: Path
    request: dict[str, Any]

    def start(self, *before: str | Path, **more: str) -> subprocess.Popen[str]:
        words = self.request["AlgorithmSpecification"]["ContainerEntrypoint"]
        process = subprocess.Popen(
            [*before, *words],
            cwd="/",
            env=platform.environment(self.root, self.request) | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        STARTED.append(process)
        return process

    @property
    def state(self) -> Path:
        return self.root / "checkpoints" / "resume" / "state.safetensors"

    @property
    def failure(self) -> str:
        return (self.root / "output" / "failure").read_text()

    def outputs(self) -> dict[str, bytes]:
        assert not (self.root / "output" / "failure").exists()
        return {name: (self.root / "model" / name).read_bytes() for name in OUTPUTS.values()}


def make(
    folder: Path,
    prepared: Path,
    changes: Mapping[str, Any] = CHANGES,
    hosts: tuple[str, ...] = ("algo-1",),
    **stated: Any,
) -> Container:
    """A container of the job that `ops.launch` would ask for."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["--params", str(small_params(folder, changes)), "--data", str(prepared)]
    words += ["--weights", "a.safetensors", "--metrics", "b.json", "--curve", "c.csv"]
    work = training.find_work("stages.train", [*words, "--resume", ".resume"], platform.IMAGE)
    there = {key.lower(): value for key, value in platform.SETTINGS.items() if key != "TAGS"}
    request = training.request(
        Settings.parse(there | {"instance_count": len(hosts)}),
        work,
        "digits-train-1",
        {"DIGITS_COMPUTE_WORKERS": "1", "DIGITS_COMPUTE_PROCESSES": "1", **stated},
    )
    root = folder / "ml"
    platform.fill(root, request, hosts)
    for channel, contents in work.channels.items():
        for name, content in contents.items():
            path = root / "input" / "data" / channel / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    return Container(root, request)


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    output, _ = process.communicate(timeout=240)
    assert process.returncode == code, output
    return output


@pytest.fixture(autouse=True)
def _none_is_left() -> Iterator[None]:
    """A test that failed leaves no container behind."""
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def undisturbed(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the stage itself makes of the same, here."""
    folder = tmp_path_factory.mktemp("here")
    run_stages.run_train(small_params(folder, CHANGES), prepared, folder)
    made = ("weights.safetensors", "metrics/train.json", "training.csv")
    return dict(zip(OUTPUTS.values(), ((folder / name).read_bytes() for name in made), strict=True))


@cache
def may_unshare(*kinds: str) -> bool:
    """Whether this user may make namespaces, as in a container with rights or as root."""
    return shutil.which("unshare") is not None and (
        subprocess.run(["unshare", *kinds, "true"], capture_output=True).returncode == 0
    )


def test_a_training_gives_the_bytes_that_it_gives_here(
    prepared: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    job = make(tmp_path, prepared)
    output = finish(job.start(PATH=warm_python.path()))
    assert job.outputs() == undisturbed
    assert "epoch 8 of 8: training loss" in output
    manifest = json.loads((job.root / "model" / container.MANIFEST).read_text())
    assert manifest["work"] == job.request["HyperParameters"]["work"]
    assert set(manifest["files"]) == set(OUTPUTS.values())
    assert not job.state.exists()
    assert (job.root / "checkpoints").is_dir()  # a mount, which can't be removed


def test_progress_comes_in_lines(prepared: Path, tmp_path: Path) -> None:
    """CloudWatch cuts at the end of a line; a progress bar has none."""
    output = finish(make(tmp_path, prepared).start(PATH=warm_python.path()))
    assert "\r" not in output
    assert any(re.search(r"\d+%.*batch/s", line) for line in output.splitlines())


def test_a_spot_interruption_resumes_to_the_same_bytes(
    prepared: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """SIGTERM; then another machine, on which the checkpoints are put back."""
    job = make(tmp_path, prepared)
    process = job.start()
    until(job.state.exists)
    process.send_signal(signal.SIGTERM)
    finish(process, code=143)
    assert "SIGTERM" in job.failure
    again = make(tmp_path / "other", prepared)
    shutil.copytree(job.root / "checkpoints", again.root / "checkpoints", dirs_exist_ok=True)
    assert "continuing after epoch" in finish(again.start(PATH=warm_python.path()))
    assert again.outputs() == undisturbed


@pytest.mark.skipif(
    not may_unshare("--pid", "--fork", "--mount-proc"), reason="no right to make a PID namespace"
)
def test_as_pid_1_it_passes_sigterm_on(prepared: Path, tmp_path: Path) -> None:
    """The kernel lets PID 1 ignore what it has no handler for."""
    job = make(tmp_path, prepared, LONG, DIGITS_COMPUTE_PROCESSES="2")
    process = job.start("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    until(job.state.exists)
    (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(first), signal.SIGTERM)
    finish(process, code=143)
    assert "SIGTERM" in job.failure


def test_what_ignores_sigterm_is_killed_before_the_platform_kills_all() -> None:
    program = (
        "import sys; from ops.tools.sagemaker import container; container.GRACE_S = 1\n"
        "stubborn = ['sh', '-c', 'trap \"\" TERM; echo up; sleep 600 & wait; wait']\n"
        "try: container.Child().run(stubborn)\n"
        "except container.Ended as end: print(end); sys.exit(end.code)"
    )
    words = [sys.executable, "-c", program]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    assert "ended by SIGTERM" in finish(process, code=143)


def test_asked_to_end_while_it_waits_for_the_other_hosts_it_ends(
    prepared: Path, tmp_path: Path
) -> None:
    job = make(tmp_path, prepared, hosts=("algo-1.invalid", "algo-2.invalid"))
    process = job.start()
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting for algo-1.invalid\n"
    process.send_signal(signal.SIGTERM)
    finish(process, code=143)
    assert "SIGTERM" in job.failure


@pytest.mark.skipif(not may_unshare("--net", "--mount"), reason="no right to make namespaces")
def test_two_hosts_meet_though_a_name_is_late(
    prepared: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """Each in a network namespace of its own, joined by a cable, with its own /etc/hosts."""
    names = ("algo-1", "algo-2")
    jobs = [
        make(tmp_path / name, prepared, hosts=(name, *(n for n in names if n != name)))
        for name in names
    ]
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n10.77.0.1 algo-1\n")
    spaces = [f"digits-{os.getpid()}-{i}" for i in (1, 2)]
    try:
        for space in spaces:
            run("ip", "netns", "add", space)
        run("ip", "link", "add", "eth0", "netns", spaces[0], "type", "veth", "peer", "name", "eth0",
            "netns", spaces[1])  # fmt: skip
        for i, space in enumerate(spaces, start=1):
            run("ip", "-n", space, "address", "add", f"10.77.0.{i}/24", "dev", "eth0")
            run("ip", "-n", space, "link", "set", "eth0", "up")
            run("ip", "-n", space, "link", "set", "lo", "up")
        script = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'
        inside = ("unshare", "--mount", "sh", "-c", script, "sh", hosts)
        first, second = (
            job.start("ip", "netns", "exec", space, *inside)
            for job, space in zip(jobs, spaces, strict=True)
        )
        with hosts.open("a") as file:
            file.write("10.77.0.2 algo-2\n")
        finish(first)
        finish(second)
    finally:
        for space in spaces:
            subprocess.run(["ip", "netns", "delete", space], capture_output=True)
    assert jobs[0].outputs() == undisturbed
    assert not list((jobs[1].root / "model").iterdir())


def run(*words: str) -> None:
    subprocess.run(words, check=True)


@pytest.mark.skipif(not may_unshare("--mount"), reason="no right to mount")
def test_a_full_disk_is_told(prepared: Path, tmp_path: Path) -> None:
    job = make(tmp_path, prepared, CHANGES | {"model.channels": [64, 64, 64]})
    small = 'mount -t tmpfs -o size=64k none "$1" && shift && exec "$@"'
    inside = ("unshare", "--mount", "sh", "-c", small, "sh", job.root / "checkpoints")
    finish(job.start(*inside), code=1)
    assert "No space left on device" in job.failure


@pytest.mark.skipif(not may_unshare("--mount"), reason="no right to mount")
def test_a_disk_so_full_that_not_even_the_failure_fits_still_ends_with_its_exit_code(
    prepared: Path, tmp_path: Path
) -> None:
    job = make(tmp_path, prepared, {"train.epochs": 0})
    full = 'mount -t tmpfs -o size=4k none "$1"; cat /dev/zero > "$1/x"; shift && exec "$@"'
    (job.root / "output").mkdir(exist_ok=True)
    inside = ("unshare", "--mount", "sh", "-c", full, "sh", job.root / "output")
    output = finish(job.start(*inside), code=1)
    assert "failure can't be written" in output
    assert "train.epochs is 0" in output


def test_the_stages_own_error_is_the_reason(prepared: Path, tmp_path: Path) -> None:
    job = make(tmp_path, prepared, {"train.epochs": 0, "model.kernel_size": 4})
    finish(job.start(PATH=warm_python.path()), code=1)
    assert "train.epochs is 0; expected greater than or equal to 1" in job.failure
    assert "model.kernel_size is 4" in job.failure
    assert not (job.root / "model" / container.MANIFEST).exists()


def test_of_several_processes_the_reason_is_that_of_the_first_to_fail(
    prepared: Path, tmp_path: Path
) -> None:
    job = make(tmp_path, prepared, DIGITS_COMPUTE_PROCESSES="3")
    finish(job.start(PATH=warm_python.path()), code=1)
    assert job.failure.startswith("train.shards is 4, which 3 processes can't share evenly")


def test_a_traceback_is_cut_to_what_the_platform_takes() -> None:
    log = [
        "Traceback (most recent call last):",
        *("  deep" * 40 for _ in range(9)),
        "ValueError: x",
    ]
    assert container.find_reason(log).endswith("ValueError: x")
    assert len(container.find_reason(log)) == container.MAX_REASON


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "input/config/resourceconfig.json").unlink(), "No such file"),
        (
            lambda root: (root / "input/config/hyperparameters.json").write_text("{"),
            "JSONDecodeError",
        ),
        (lambda root: (root / "input/config/hyperparameters.json").write_text("[]"), "TypeError"),
        (lambda root: platform.write_config(root, hyperparameters={}), "KeyError: 'stage'"),
        (
            lambda root: (root / "input/data/data/val-labels.npy").unlink(),
            "differs from what was up",
        ),
        (
            lambda root: shutil.rmtree(root / "input/data/code/digits"),
            "differs from what was up",
        ),
    ],
)
def test_what_is_not_as_it_should_be_is_named(
    damage: Callable[[Path], None], message: str, prepared: Path, tmp_path: Path
) -> None:
    job = make(tmp_path, prepared)
    damage(job.root)
    finish(job.start(PYTHONPATH=str(ROOT)), code=1)
    assert message in job.failure


def test_an_image_with_an_old_python_is_told(prepared: Path, tmp_path: Path) -> None:
    job = make(tmp_path, prepared)
    (tmp_path / "sitecustomize.py").write_text(
        "import hashlib, sys; del hashlib.file_digest; sys.version_info = (3, 10, 14, 'final', 0)"
    )
    code = job.root / "input" / "data" / "code"
    finish(job.start(PYTHONPATH=f"{tmp_path}:{code}"), code=1)
    assert "expected 3.11 or later" in job.failure


def test_what_the_image_lacks_is_installed_beside_it(tmp_path: Path) -> None:
    """By the image's pip, in a folder of its own; the image's PyTorch stays."""
    image = tmp_path / "image"
    venv.create(image, with_pip=True, symlinks=True)
    packages = next(image.glob("lib/python*/site-packages"))
    for name, version in {"torch": "2.6.0+cpu", "tqdm": "1.0"}.items():
        info = packages / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    for name in ("tqdm", "psutil"):
        wheel(tmp_path / "wheels", name, "2.0")
    requirements = tmp_path / container.REQUIREMENTS
    requirements.write_text("psutil==2.0\ntorch==2.15.0\ntqdm==2.0\n")
    (tmp_path / container.CONSTRAINTS).write_text("")
    program = (
        "from pathlib import Path; from ops.tools.sagemaker.container import *; "
        f"install(Path({str(requirements)!r}), Path({str(tmp_path / 'target')!r}), Child())"
    )
    found = subprocess.run(
        [image / "bin" / "python", "-c", program],
        cwd=ROOT,
        env={"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "wheels")},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "PyTorch is 2.6.0+cpu, not 2.15.0" in found.stdout
    assert "installing packages that the image lacks: psutil, tqdm" in found.stdout
    assert {path.name for path in (tmp_path / "target").glob("*.py")} == {"psutil.py", "tqdm.py"}


def wheel(folder: Path, name: str, version: str) -> None:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", "")
        info = f"{name}-{version}.dist-info"
        file.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")


def test_the_packages_are_those_that_the_code_imports(prepared: Path, tmp_path: Path) -> None:
    """At the top of its modules: only `digits.data` uses scikit-learn, in no training."""
    job = make(tmp_path, prepared)
    names = set()
    for file in (job.root / "input" / "data" / "code").rglob("*.py"):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    names -= {*sys.stdlib_module_names, "digits", "stages", "ops"}
    known = {"yaml": "pyyaml", "pydantic_core": "pydantic"}
    assert {known.get(name, name) for name in names} == set(training.PACKAGES)
