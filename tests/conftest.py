"""Fixtures for all tests. What takes long to import is imported in the fixture that needs it."""

import gc
import os
import shutil
import signal
import sys
import tempfile
import urllib.request
import uuid
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import psutil
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from digits.core import kernels
from tests.helpers import s3, warm_python
from tests.helpers.git_hosts import GitHub, GitLab, serve_api
from tests.helpers.small import ROOT

kernels.pin()  # before anything loads torch, here and in what tests start

# The tests start Python hundreds of times. A container's flag would have each compile all again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

hypothesis.settings.register_profile(
    "house",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],  # as the machine may be
)
hypothesis.settings.load_profile("house")

# Started in the background, a shell has the tests ignore Ctrl-C, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The first one has no window, and needs two thirds of the processor time of the others.
BROWSERS = (
    *("chromium-headless-shell", "chromium", "chromium-browser"),
    *("google-chrome", "google-chrome-stable"),
)

MEMORY = Path("/dev/shm")  # a folder in memory, on Linux
ENOUGH = 8 << 30  # bytes; the files of a run are 2 GB at most


def use_memory() -> None:
    """Have temporary files lie in memory if there is enough: there are a hundred thousand."""
    if "TMPDIR" in os.environ or not MEMORY.is_dir():
        return
    for old in MEMORY.glob("digits-tests-*"):
        if not psutil.pid_exists(int(old.name.rpartition("-")[2])):
            shutil.rmtree(old, ignore_errors=True)
    if min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available) > ENOUGH:
        folder = MEMORY / f"digits-tests-{os.getpid()}"
        folder.mkdir(mode=0o700)
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None):  # not in a worker
        use_memory()
        warm_python.share()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What the collection makes stays, so no garbage is looked for in it, then and later."""
    gc.disable()
    try:
        return (yield)
    finally:
        warm_python.collect_rarely()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no worker is left with it at the end."""
    items.sort(key=lambda item: -max((m.args[0] for m in item.iter_markers("slow")), default=0))


class ByFixture(LoadScopeScheduling):
    """Hands out single tests, but those of a module that share a fixture to one worker."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return module if shares_fixtures(module) else nodeid


@cache
def shares_fixtures(module: str) -> bool:
    files = (ROOT / module, (ROOT / module).with_name("conftest.py"))
    texts = [file.read_text() for file in files if file.exists() and file != Path(__file__)]
    return any('scope="module"' in text for text in texts) or "browser: Browser" in texts[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFixture:
    return ByFixture(config, log)


@pytest.fixture(scope="session")
def uci() -> Any:
    """The bundled digits, as `digits.data.dataset.Raw`."""
    from digits.data import sources

    return sources.uci()


@pytest.fixture(scope="session")
def prepared(uci: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder of a few hundred real scans."""
    from digits.data import dataset

    folder = tmp_path_factory.mktemp("data") / "prepared"
    folder.mkdir()
    train, val = dataset.split_indices(uci.train.labels, 0.1, seed=0)
    splits = {
        "train": uci.train.take(train[:256]),
        "val": uci.train.take(val),
        "test": uci.test,
    }
    dataset.save(folder, uci.source, splits)
    return folder


@pytest.fixture(autouse=True)
def _threads_of_torch() -> Iterator[None]:
    """The engine limits torch to one thread an operation, for the whole process."""
    torch = sys.modules.get("torch")
    before = torch and torch.get_num_threads()
    yield
    if torch:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium, else the one that Playwright has downloaded; without one, a skip."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium
        found = next(filter(None, map(shutil.which, BROWSERS)), chromium.executable_path)
        if not Path(found).exists():
            missing = f"no browser: neither {', '.join(BROWSERS)} nor `playwright install chromium`"
            if os.environ.get("DIGITS_REQUIRE_BROWSER"):
                pytest.fail(missing)
            pytest.skip(missing)
        sandbox = os.geteuid() != 0  # which Chromium refuses to root
        browser = chromium.launch(executable_path=found, chromium_sandbox=sandbox)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    with s3.moto() as url:
        yield url


@pytest.fixture(autouse=True)
def _clients_of_s3(request: pytest.FixtureRequest) -> Iterator[None]:
    """A client has read the environment. Tests of one server share it: it takes 0.2 s to make."""
    if uses_moto_itself(request):
        yield
        return
    forget_clients()  # of the tests before
    yield
    forget_clients()  # of this test's server


def forget_clients() -> None:
    filesystem = getattr(
        sys.modules.get("s3fs"), "S3FileSystem", None
    )  # a thread may import it now
    if filesystem:
        filesystem.clear_instance_cache()


def uses_moto_itself(request: pytest.FixtureRequest) -> bool:
    """Whether a test has a bucket, and no proxy before it."""
    names = set(request.fixturenames)
    return bool({"bucket", "place"} & names) and "s3_proxy" not in names


@pytest.fixture
def s3_proxy(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[s3.Proxy]:
    """A proxy to an S3 server, which the environment names as the endpoint."""
    with s3.proxy(moto) as proxy:
        use_s3(proxy.url, monkeypatch)
        yield proxy


def use_s3(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**s3.CREDENTIALS, "AWS_ENDPOINT_URL": url}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def bucket(request: pytest.FixtureRequest, moto: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a place in a new bucket, which a test reaches through `s3_proxy` if it has one."""
    if uses_moto_itself(request):
        use_s3(moto, monkeypatch)
    else:
        request.getfixturevalue("s3_proxy")
    name = f"models-{uuid.uuid4().hex[:8]}"
    request = urllib.request.Request(f"{moto}/{name}", method="PUT")
    urllib.request.urlopen(request).close()
    return f"s3://{name}/digits"


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    """A server in GitHub's place, which the environment names as in a workflow's step."""
    with serve_api(server := GitHub()):
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def gitlab(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitLab]:
    """A server in GitLab's place, which the environment names as in a job."""
    with serve_api(server := GitLab()):
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a folder that is yet to be made, and of a place in a bucket."""
    if request.param == "folder":
        return str(tmp_path / "store")
    url: str = request.getfixturevalue("bucket")
    return url
