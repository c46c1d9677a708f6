"""The Dockerfile's steps as they stand there, without Docker: in a folder, with a new venv."""

import json
import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from digits.model.classifier import Classifier
from tests.helpers.servers import serve, write_model
from tests.helpers.small import ROOT
from tests.serving.test_predict import FILE, probabilities

UNREACHABLE = ("NewConnectionError", "NameResolutionError", "Temporary failure", "dns error")
UV = """#!/bin/sh
[ "$1 $2" = "install --no-cache-dir" ] || exit 64
shift 2
exec {uv} pip install --python {venv} "$@"
"""
# Ends the server if it opens a file to write to outside of its folder for temporary files.
WATCH = """
import os, sys
def watch(event, words):
    if event == "open" and isinstance(words[2], int) and words[2] & (os.O_WRONLY | os.O_RDWR):
        path = os.path.realpath(words[0]) if isinstance(words[0], str) else ""
        if path and not path.startswith((os.environ["TMPDIR"], "/dev/", "/proc/")):
            os.write(2, f"writes to {path}".encode())
            os._exit(9)
sys.addaudithook(watch)
"""


@dataclass
class Container:
    """What the steps have made: a root folder with an environment in it."""

    root: Path
    workdir: Path = Path()
    environment: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    healthcheck: str = ""
    user: str = "root"

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/") if name.startswith("/") else self.workdir / name

    def follow(self, verb: str, words: str) -> None:
        match verb:
            case "WORKDIR":
                self.workdir = self.path(words)
                self.workdir.mkdir(parents=True)
            case "COPY":
                *sources, target = words.split()
                for source in sources:
                    self.copy(ROOT / source, self.path(target), into=target.endswith("/"))
            case "RUN":
                self.run(words)
            case "ENV":
                pairs = dict(pair.split("=") for pair in words.split())
                self.environment |= {
                    k: v.replace("/opt", f"{self.root}/opt") for k, v in pairs.items()
                }
            case "HEALTHCHECK":
                self.healthcheck = words.partition("CMD ")[2]
            case "CMD":
                self.command = json.loads(words)
            case "USER":
                self.user = words
            case _:
                assert verb in ("FROM", "EXPOSE"), verb

    def copy(self, source: Path, target: Path, into: bool) -> None:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            path = target / source.name if into else target
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, path)

    def run(self, words: str) -> str:
        found = subprocess.run(
            words,
            shell=True,
            cwd=self.workdir,
            env=self.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if any(text in found.stdout for text in UNREACHABLE):
            if os.environ.get("DIGITS_REQUIRE_INDEX"):
                pytest.fail(found.stdout)
            pytest.skip("no package index within reach")
        assert found.returncode == 0, found.stdout
        return found.stdout

    def variables(self) -> dict[str, str]:
        path = f"{self.root}/usr/local/bin:{self.root}/venv/bin:{os.environ['PATH']}"
        quick = {"PIP_NO_COMPILE": "1"}  # most of what is installed is never imported here
        return os.environ | self.environment | quick | {"PATH": path}


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Container:
    made = Container(tmp_path_factory.mktemp("container"))
    uv = shutil.which("uv")
    venv.create(made.root / "venv", with_pip=not uv)
    if uv:  # it does the same in a tenth of the time
        pip = made.root / "venv" / "bin" / "pip"
        pip.write_text(UV.format(uv=uv, venv=made.root / "venv"))
        pip.chmod(0o755)
    for line in (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines():
        if line and not line.startswith("#"):
            made.follow(*line.split(maxsplit=1))
    return made


@pytest.mark.slow(25)
def test_the_image_has_no_training_in_it_and_serves(container: Container, tmp_path: Path) -> None:
    installed = container.root / "venv" / "lib"
    names = {path.name.partition("-")[0] for path in installed.rglob("*.dist-info")}
    assert names >= {"fastapi", "onnxruntime", "s3fs"}
    assert not names & {"torch", "torchvision", "dvc", "matplotlib", "onnx", "scikit_learn"}
    size = sum(path.stat().st_size for path in installed.rglob("*") if path.is_file())
    assert size < 450e6

    assert int(container.user) > 0  # a number, by which Kubernetes knows that it is not root
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    (tmp_path / "tmp").mkdir()
    variables = container.variables()
    variables |= {
        "PYTHONPATH": f"{tmp_path}/watch:{variables['PYTHONPATH']}",
        "TMPDIR": str(tmp_path / "tmp"),
        "HOME": str(tmp_path / "tmp"),
    }
    folder = write_model(tmp_path / "model")
    command = [str(container.path(f"/usr/local/bin/{container.command[0]}"))]
    with serve(folder, tmp_path, command=command, **variables) as server:
        assert probabilities(server.ask("/predict", FILE))
        assert server.ask("/invocations", FILE).json["model"] == Classifier.load(folder).id
        check = container.healthcheck.replace("8080", str(server.address[1]))
        proxy = "export http_proxy=http://127.0.0.1:9 no_proxy="  # Docker passes on its user's
        container.run(f"{proxy}; {check}")
        assert "/livez" in server.log


def test_the_server_imports_no_training() -> None:
    program = (
        "import sys, serving.__main__;"
        "assert not {'torch', 'dvc', 'matplotlib', 'onnx', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
