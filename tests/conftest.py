"""Fixtures for all tests. What takes long to import is imported in the fixture that needs it."""

import os
import shutil
import signal
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.helpers import s3
from tests.helpers.github import GitHub, serve_github

hypothesis.settings.register_profile("house", deadline=None, derandomize=True)
hypothesis.settings.load_profile("house")

# Started in the background, a shell has the tests ignore Ctrl-C, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no worker is left with it at the end.

    `slow(seconds)` says how long: of a module whose tests share a fixture, and so stay together on
    one worker, as a whole.
    """
    for item in items:
        fixtures = item._fixtureinfo.name2fixturedefs.values()
        if any(each[-1].scope == "module" for each in fixtures):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=lambda item: -max((m.args[0] for m in item.iter_markers("slow")), default=0))


@pytest.fixture(scope="session")
def uci() -> Any:
    """The bundled digits, as `digits.data.Raw`."""
    from digits import sources

    return sources.uci()


@pytest.fixture(scope="session")
def prepared(uci: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder of a few hundred real scans."""
    from digits import data

    folder = tmp_path_factory.mktemp("data") / "prepared"
    folder.mkdir()
    train, val = data.split_indices(uci.train.labels, 0.1, seed=0)
    splits = {
        "train": uci.train.take(train[:256]),
        "val": uci.train.take(val),
        "test": uci.test,
    }
    data.save(folder, uci.source, splits)
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


@pytest.fixture
def s3_proxy(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[s3.Proxy]:
    """A proxy to an S3 server, which the environment names as the endpoint."""
    with s3.proxy(moto) as proxy:
        for name, value in {**s3.CREDENTIALS, "AWS_ENDPOINT_URL": proxy.url}.items():
            monkeypatch.setenv(name, value)
        yield proxy
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()  # it has read the environment


@pytest.fixture
def bucket(moto: str, s3_proxy: s3.Proxy) -> str:
    """The URL of a place in a new bucket."""
    name = f"models-{uuid.uuid4().hex[:8]}"
    request = urllib.request.Request(f"{moto}/{name}", method="PUT")
    urllib.request.urlopen(request).close()
    return f"s3://{name}/digits"


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    """A server in GitHub's place, which the environment names as in a workflow's step."""
    with serve_github() as server:
        monkeypatch.setenv("GITHUB_API_URL", server.url)
        monkeypatch.setenv("GITHUB_REPOSITORY", "o/r")
        monkeypatch.setenv("GITHUB_TOKEN", "token")
        yield server


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a folder that is yet to be made, and of a place in a bucket."""
    if request.param == "folder":
        return str(tmp_path / "store")
    url: str = request.getfixturevalue("bucket")
    return url
