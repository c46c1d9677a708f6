"""Which PyTorch is installed, with stand-ins for PyPI and for PyTorch's own index."""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops import install
from tests.helpers.http_server import answer_files
from tests.helpers.small import ROOT

pytestmark = pytest.mark.slow(12)

UNREACHABLE = "http://127.0.0.1:1/cpu"


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of two indexes, `pypi` and `cpu`, with a torch of a few bytes in each."""
    folder = tmp_path_factory.mktemp("indexes")
    for index, version in (("pypi", "2.15.0"), ("cpu", "2.15.0+cpu")):
        page = folder / index / "torch"
        page.mkdir(parents=True)
        information = f"torch-{version}.dist-info"
        with zipfile.ZipFile(page / f"torch-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr("torch.py", f"build = {index!r}\n")
            metadata = f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n"
            wheel.writestr(f"{information}/METADATA", metadata)
            tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            wheel.writestr(f"{information}/WHEEL", tags)
            names = ["torch.py", f"{information}/METADATA", f"{information}/WHEEL"]
            record = [*names, f"{information}/RECORD"]
            wheel.writestr(f"{information}/RECORD", "".join(f"{name},,\n" for name in record))
    with answer_files(folder) as url:
        yield url


@pytest.fixture(params=["pip", "uv"])
def installer(
    request: pytest.FixtureRequest, tmp_path: Path, indexes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty folder with a requirements file, pip or uv, and no NVIDIA driver."""
    uv = shutil.which("uv")
    if request.param == "uv" and not uv:
        pytest.skip("uv is not installed")
    (tmp_path / "requirements.txt").write_text("-r compute.txt\n")
    (tmp_path / "compute.txt").write_text("torch==2.15.0  # training\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "which", {"uv": uv if request.param == "uv" else None}.get)
    monkeypatch.setattr(install, "has_nvidia_driver", lambda: False)
    monkeypatch.setattr(install.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", f"{indexes}/pypi")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{indexes}/pypi")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")


def set_up(monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    """Run the command, and return which torch there is then."""
    monkeypatch.setattr(sys, "argv", ["install", "requirements.txt", *words])
    install.main()
    shown = [install.VENV / "bin" / "python", "-c", "import torch; print(torch.build)"]
    return subprocess.check_output(shown, text=True).strip()


@pytest.mark.usefixtures("installer")
def test_the_build_follows_the_machine_the_index_and_the_choice(
    indexes: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    index = ("--index", f"{indexes}/cpu")
    assert set_up(monkeypatch, "--index", UNREACHABLE) == "pypi"
    said, errors = capfd.readouterr()
    assert said.splitlines()[1:] == [
        f"PyTorch from PyPI, 5 GB with CUDA libraries: {UNREACHABLE} can't be reached. "
        "Choose: make TORCH=cpu, cuda or pypi"
    ]
    assert errors == ""
    with pytest.raises(SystemExit, match=r"does not have torch==2\.15\.0\+cpu\. To do without"):
        set_up(monkeypatch, "--index", UNREACHABLE, "--torch", "cpu")
    capfd.readouterr()
    assert set_up(monkeypatch, *index) == "cpu"
    assert "PyTorch's CPU build: no NVIDIA driver was found. Choose: " in capfd.readouterr().out
    assert install.BUILD.read_text() == "cpu"
    assert set_up(monkeypatch, *index, "--torch", "pypi") == "pypi"
    assert set_up(monkeypatch, *index, "--torch", "cpu") == "cpu"
    monkeypatch.setattr(install, "has_nvidia_driver", lambda: True)
    assert set_up(monkeypatch, *index) == "pypi"
    assert "PyTorch with CUDA, for this machine's NVIDIA driver" in capfd.readouterr().out
    assert install.BUILD.read_text() == "cuda"


@pytest.mark.usefixtures("installer")
def test_where_another_package_fails_the_build_is_known_and_can_be_replaced(
    indexes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "requirements.txt").open("a") as file:
        file.write("nowhere==1.0\n")
    with pytest.raises(SystemExit, match=r"^Setting up \.venv failed"):
        set_up(monkeypatch, "--index", f"{indexes}/cpu")
    assert install.BUILD.read_text() == "cpu"
    install.BUILD.unlink()
    (tmp_path / "requirements.txt").write_text("-r compute.txt\n")
    assert set_up(monkeypatch, "--torch", "cuda") == "pypi"


def test_a_driver_or_another_machine_takes_what_pypi_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(install.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(install, "has_nvidia_driver", lambda: True)
    assert install.install_torch([], {"torch": "2.15.0"}, "auto", UNREACHABLE) == "cuda"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert install.install_torch([], {"torch": "2.15.0"}, "auto", UNREACHABLE) == "pypi"


def test_the_pins_are_found_in_what_a_file_includes() -> None:
    dev = install.torch_pins(ROOT / "requirements-dev.txt")
    assert set(dev) == {"torch", "torchvision"}
    assert install.torch_pins(ROOT / "requirements-serve.txt") == {}


def test_a_python_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    with pytest.raises(SystemExit, match=r"Python 3.11 or later is needed; .* make PYTHON=python3"):
        install.main()
