"""In a browser: runs, stopped and resumed, kept, promoted, rolled back; and no way in."""

import asyncio
import json
import shlex
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import pytest
from starlette.types import Message

from ops.tools.processes import is_alive
from ops.ui import contents, project, server
from ops.ui.live.events import Watcher
from ops.ui.live.runner import Runner
from ops.ui.project import NOWHERE, Project
from tests.helpers.model_project import Models
from tests.helpers.pages import complaints_of_axe
from tests.helpers.servers import DEADLINE_S
from tests.helpers.small import LENIENT, ROOT, small_params
from tests.helpers.ui import serve_ui
from tests.helpers.wait import until
from tests.ops.ui.conftest import Ui

RUN_MS = 120_000  # until a command has done something
HOSTILE = "--force <script>document.title='pwned'</script> $(touch pwned)"


@pytest.fixture(scope="module")
def job(ui: Ui) -> Path:
    """The folder of a job that has ended, with output and a curve that are markup elsewhere."""
    folder = ui.project.folder / ".ui" / "jobs" / "20260101-000000-abcd"
    folder.mkdir(parents=True)
    row = {"epoch": 1, "train_loss": 1.0, "val_nll": 1.0, "val_accuracy": 0.5}
    files = {
        "job.json": {
            "title": "Reproduce",
            "words": ["dvc", "repro", HOSTILE],
            "query": "action=reproduce&target=train",
            "asked": 1.0,
            "started": 1.0,
            "ended": 2.0,
            "stopped": False,
            "code": 0,
        },
        "progress.json": {"epochs": 1, "curve": [row], "more": "</script><b>pwned</b>"},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "output.log").write_bytes(
        b"\x1b[31m<script>document.title='pwned'</script>\x1b[0m</pre><img src=x>\n10 %\r20 %"
    )
    return folder


def open_form(ui: Ui, query: str) -> None:
    ui.page.goto(f"{ui.server.url}/run.html?{query}")


def press_run(ui: Ui, command: str) -> None:
    """Run what the form shows."""
    ui.page.wait_for_selector(f"#command:text-is({json.dumps(command)})")
    ui.page.get_by_role("button", name="Run this command").click()
    ui.page.wait_for_url("**/jobs/*.html")


def wait_for_state(ui: Ui, state: str) -> None:
    ui.page.wait_for_selector(f"#status .state:text-is('{state}')", timeout=RUN_MS)


def log(ui: Ui) -> str:
    text: str = ui.page.inner_text("#log")
    return text


@pytest.mark.slow(40)
def test_a_day_of_work(ui: Ui) -> None:
    """Run, stop, continue, keep, promote, try a parameter, override, roll back; no terminal."""
    changes = {"train.epochs": 8, "train.early_stopping.patience": 8, "gate.limits.uci": LENIENT}
    small_params(ui.project.folder, changes)
    ui.project.commit("eight epochs")
    start_and_stop(ui)
    continue_and_queue(ui)
    keep_the_results(ui)
    promote(ui)
    keep_an_experiment(ui)
    override_the_gate(ui)
    roll_back(ui)


def start_and_stop(ui: Ui) -> None:
    open_form(ui, "action=reproduce")
    ui.page.get_by_label("Up to").select_option("train")
    press_run(ui, "dvc repro train")
    wait_for_state(ui, "running")
    ui.page.wait_for_selector("#epoch:text-matches('^epoch [1-7] of 8')", timeout=RUN_MS)
    ui.page.reload()  # the page shows the same after it
    assert "Running stage 'train'" in log(ui)
    curve = ui.page.locator("[data-curve=loss] svg[role=img]").get_attribute("aria-label")
    assert curve.startswith("Loss. training ends at")
    ui.page.get_by_role("button", name="Stop").click()
    wait_for_state(ui, "stopped")
    assert not (ui.project.folder / "models" / "weights.safetensors").exists()


def continue_and_queue(ui: Ui) -> None:
    ui.page.get_by_role("link", name="Continue").click()
    press_run(ui, "dvc repro train")
    first = ui.page.url
    open_form(ui, "action=reproduce")
    press_run(ui, "dvc repro")
    second = ui.page.url
    wait_for_state(ui, "waiting")
    ui.page.goto(first)
    wait_for_state(ui, "done")
    assert "continuing after epoch" in log(ui)
    ui.page.wait_for_selector("#epoch:text-matches('^epoch 8 of 8')")
    ui.page.goto(second)
    wait_for_state(ui, "done")


def keep_the_results(ui: Ui) -> None:
    """The overview says that they are not committed; its page changes without a reload."""
    ui.page.goto(f"{ui.server.url}/pipeline.html")
    ui.page.evaluate("() => { window.isTheSame = true; }")
    path = ui.project.folder / "params.yaml"
    content = path.read_text()
    path.write_text(content.replace("label_smoothing: 0.1", "label_smoothing: 0.2"))
    ui.page.wait_for_selector("main:has-text('train.label_smoothing was 0.1, is 0.2')")
    path.write_text(content)
    ui.page.wait_for_selector("main:has-text('All 7 stages are up to date')")
    assert ui.page.evaluate("() => window.isTheSame")
    ui.page.get_by_role("link", name="Overview").click()
    assert ui.page.inner_text("h1") == "New results are not committed"
    ui.page.locator("li", has_text="once they are committed").get_by_role("link").click()
    ui.page.get_by_label("Message").fill("Eight epochs")
    press_run(ui, "digits keep '--message=Eight epochs'")
    wait_for_state(ui, "done")
    assert ui.project.run("git", "log", "-1", "--format=%s") == "Eight epochs\n"
    assert ui.project.run("git", "status", "--porcelain") == ""
    ui.project.run("python", "-m", "ops.ui", "--site", "../site")  # prepare counts no upstrokes
    assert "1,797 images" in (ui.project.folder.parent / "site" / "data.html").read_text()


def promote(ui: Ui) -> None:
    ui.page.get_by_role("link", name="Promote it").click()
    press_run(ui, "digits registry promote --stage=production")
    wait_for_state(ui, "done")
    assert "PASS: within all limits" in log(ui)
    assert "production is v1.0.0 now" in log(ui)


def keep_an_experiment(ui: Ui) -> None:
    open_form(ui, "action=experiment")
    ui.page.locator("[id='train.epochs']").fill("1")
    press_run(ui, "dvc exp run --temp --set-param=train.epochs=1")
    wait_for_state(ui, "done")
    name = ui.project.run("dvc", "exp", "list", "--name-only").strip()
    keep = ui.page.get_by_role("link", name="Keep it").get_attribute("href")
    assert keep.endswith(f"action=keep&experiment={name}")
    ui.page.locator("#status").get_by_role("link", name="Runs").click()
    ui.page.locator("#runs").get_by_role("link", name=name).click()
    assert ui.page.locator("h2:text-is('Confusion matrix')").is_visible()
    ui.page.get_by_role("link", name="Keep it").click()
    ui.page.get_by_label("Message").fill(HOSTILE)
    press_run(ui, f"digits keep {name} {shlex.quote(f'--message={HOSTILE}')}")
    wait_for_state(ui, "done")
    assert ui.project.run("git", "log", "-1", "--format=%s") == f"{HOSTILE}\n"
    ui.page.locator("#status").get_by_role("link", name="Overview").click()
    ui.page.wait_for_selector("h1:text-is('The gate blocks the model of main')")


def override_the_gate(ui: Ui) -> None:
    open_form(ui, "action=promote")
    press_run(ui, "digits registry promote --stage=production")
    wait_for_state(ui, "failed")
    assert "the gate blocks (exit code 1)" in ui.page.inner_text("#status")
    assert ui.page.inner_text("#status .reason").startswith("BLOCKED: ")
    ui.page.get_by_role("link", name="Promote it although the gate blocks").click()
    ui.page.wait_for_selector("#command:has-text('--force')")
    ui.page.get_by_role("button", name="Run this command").click()
    ui.page.wait_for_selector("#reason-error:text-is('is required')")
    ui.page.get_by_label("Reason").fill(HOSTILE)
    words = "digits registry promote --stage=production --force"
    press_run(ui, f"{words} {shlex.quote(f'--reason={HOSTILE}')}")
    wait_for_state(ui, "done")
    assert "production is v1.1.0 now" in log(ui)
    assert ui.page.title().startswith("Promote")
    assert f"Reason: {HOSTILE}" in ui.project.run("git", "tag", "--list", "-n99")


def roll_back(ui: Ui) -> None:
    open_form(ui, "action=rollback&to=1.0.0")
    ui.page.get_by_label("Reason").fill("too many errors")
    words = "digits registry rollback --stage=production --to=1.0.0"
    press_run(ui, f"{words} '--reason=too many errors'")
    wait_for_state(ui, "done")
    ui.page.locator("#status").get_by_role("link", name="Versions").click()
    ui.page.wait_for_selector("main:has-text('v1.0.0 is back in production')")
    assert ui.page.title().startswith("Versions")
    assert not (ui.project.folder / "pwned").exists()


def test_the_end_of_the_server_ends_the_command_that_runs(tmp_path: Path) -> None:
    project = Models.create(tmp_path / "project", server=None, storage=None)
    stage = {"cmd": "echo $$ > started; sleep 600; true", "outs": ["never"]}
    (project.folder / "dvc.yaml").write_text(json.dumps({"stages": {"wait": stage}}))
    project.commit("waits")
    started = project.folder / "started"
    with serve_ui(project, PYTHONPATH=str(ROOT)) as server:
        fields = {"action": "reproduce", "target": "", "command": "dvc repro"}
        page = server.ask("/run.html", fields).headers["location"]
        shell = psutil.Process(int(until(lambda: started.is_file() and started.read_text())))
        assert is_alive(shell)
    assert not is_alive(shell)
    with serve_ui(project, PYTHONPATH=str(ROOT)) as server:
        assert "stopped" in server.ask(page).body.decode()


def test_a_broken_file_is_a_page_that_says_so_and_heals_by_itself(ui: Ui) -> None:
    path = ui.project.folder / "params.yaml"
    content = path.read_bytes()
    path.write_text("train: [")
    answer = ui.server.ask("/run.html?action=experiment")
    assert answer.status == 503
    assert b"params.yaml is not YAML" in answer.body
    assert b"Traceback" not in answer.body
    assert "params.yaml" not in ui.server.log_file.read_text()
    path.write_bytes(content)
    assert ui.server.ask("/run.html?action=experiment").status == 200


def test_errors_and_the_command_follow_what_is_typed(ui: Ui) -> None:
    open_form(ui, "action=experiment&preset=short")
    ui.page.get_by_label("seed", exact=True).last.fill("x")
    ui.page.wait_for_selector("[id='train.seed-error']:has-text('integer')")
    assert ui.page.locator("[id='train.seed']").get_attribute("aria-invalid") == "true"
    ui.page.locator("[id='train.seed']").fill("7")
    ui.page.locator("[id='train.optimizer.sgd.momentum']").fill("0")
    ui.page.wait_for_selector("[id='train.optimizer.sgd-error']:has-text('nesterov')")
    assert ui.page.locator("[id='train.seed-error']").inner_text() == ""
    ui.page.locator("[id='train.optimizer.sgd.nesterov']").select_option("false")
    ui.page.wait_for_selector("#command:has-text('train.optimizer.sgd.nesterov=false')")
    assert ui.page.locator("[id='train.optimizer.sgd-error']").inner_text() == ""
    command = ui.page.inner_text("#command")
    assert command.startswith("dvc exp run --temp --set-param=train.")
    assert {"--set-param=train.seed=7", "--set-param=train.epochs=3"} <= set(command.split())
    assert ui.page.locator("[id='train.optimizer.adam.eps']").is_hidden()
    ui.page.locator("[id='train.optimizer.name']").select_option("adam")
    assert ui.page.locator("[id='train.optimizer.adam.eps']").is_visible()


def test_a_command_that_was_not_shown_does_not_run(ui: Ui) -> None:
    jobs = ui.server.ask("/jobs.html").body
    fields = {"action": "reproduce", "target": "train", "command": "dvc repro"}
    answer = ui.server.ask("/run.html", fields)
    assert answer.status == 422
    assert b"dvc repro train" in answer.body
    assert ui.server.ask("/jobs.html").body == jobs


def test_a_form_that_is_too_large_is_refused(ui: Ui) -> None:
    fields = {"action": "rollback", "reason": "x" * server.LARGEST_FORM}
    assert ui.server.ask("/preview", fields).status == 413


@pytest.mark.parametrize(
    "fields",
    [
        {"action": "experiment", "train.epochs": "1; touch pwned"},
        {"action": "experiment", "train.epochs": '"><script>alert(1)</script>'},
        {"action": "experiment", "data.folder": "$(touch pwned)"},
        {"action": "experiment", "name": "--queue"},
        {"action": "reproduce", "target": "train --force"},
        {"action": "sweep", "file": "../../etc/passwd"},
        {"action": "rollback", "reason": ""},
    ],
)
def test_a_hostile_value_is_an_error_and_no_markup(ui: Ui, fields: Mapping[str, str]) -> None:
    answer = ui.server.ask("/run.html", fields)
    assert answer.status == 422
    assert b"<script>alert" not in answer.body
    shown = json.loads(ui.server.ask("/preview", fields).body)
    assert shown["problems"]
    assert ui.server.ask("/run.html", {**fields, "command": shown["command"]}).status == 422


def test_the_output_of_a_command_is_text(ui: Ui, job: Path) -> None:
    ui.page.goto(f"{ui.server.url}/jobs/{job.name}.html")
    assert ui.page.title().startswith("Reproduce")
    assert log(ui) == "<script>document.title='pwned'</script></pre><img src=x>\n20 %"
    assert ui.page.locator("main img, main b").count() == 0
    assert ui.page.inner_text("pre.command code") == shlex.join(["dvc", "repro", HOSTILE])
    ui.page.wait_for_selector("#epoch:has-text('epoch 1 of 1')")
    answer = ui.server.ask(f"/jobs/{job.name}.txt")
    assert answer.headers["content-type"].startswith("text/plain")


def test_a_page_that_takes_long_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    started, ended, in_time = Event(), Event(), []

    def read_slowly(project: Project) -> dict[str, Callable[[], bytes]]:
        started.set()
        in_time.append(ended.wait(DEADLINE_S))
        return {"index.html": lambda: b"the page"}

    async def ask() -> None:
        sent = []

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
        asked = asyncio.ensure_future(server.app(context)(scope, receive, send))
        while not started.is_set():
            await asyncio.sleep(0)
        ended.set()
        await asked
        assert sent[1]["body"] == b"the page"

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    context = server.Context(False, NOWHERE, Runner(), Watcher(), Event())
    monkeypatch.setattr(project, "read", lambda **_: Project("now", is_live=True))
    monkeypatch.setattr(contents, "resources", read_slowly)
    with ThreadPoolExecutor(1) as pool:  # this thread has the loop of Playwright
        pool.submit(asyncio.run, ask()).result()
    assert in_time == [True]


def test_a_fault_of_the_program_is_a_page_and_its_traceback_is_logged(project: Project) -> None:
    faulty = "from ops.ui import __main__, server; server.page = lambda request: 1 / 0; "
    with serve_ui(project, "--read-only", start=("-c", f"{faulty}__main__.main()")) as server:
        answer = server.ask("/index.html")
        assert answer.status == 500
        assert b"A fault of the program" in answer.body
        assert b"ZeroDivisionError: division by zero" in answer.body
        assert b"Traceback" not in answer.body
        until(lambda: "Traceback" in server.log_file.read_text())


@pytest.mark.parametrize("path", ["/", "/run.html", "/events", "/static/ui.css", "/nothing"])
def test_without_the_token_there_is_nothing_to_see(ui: Ui, path: str) -> None:
    for cookie in ("", "digits=x", ui.server.cookie[:-1], "token=" + ui.server.token):
        assert ui.server.ask(path, Cookie=cookie).status == 403
    assert ui.server.ask(f"{path}?token=wrong", Cookie="").status == 403


def test_the_token_of_the_address_becomes_a_cookie_that_no_script_can_read(ui: Ui) -> None:
    answer = ui.server.ask(f"/runs.html?a=1&token={ui.server.token}", Cookie="")
    assert answer.status == 303
    assert answer.headers["location"] == "/runs.html?a=1"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{ui.server.cookie};")
    assert {"httponly", "samesite=strict"} <= {part.strip().lower() for part in cookie.split(";")}
    assert ui.page.evaluate("() => document.cookie") == ""


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil:80"])
def test_another_name_for_this_computer_is_refused(ui: Ui, host: str) -> None:
    assert ui.server.ask("/", Host=host).status == 403
    assert ui.server.ask(f"/?token={ui.server.token}", Host=host, Cookie="").status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": ""},  # no header
        {"Origin": "", "Sec_Fetch_Site": "same-site"},  # another server of this computer
        {"Sec_Fetch_Site": "cross-site"},
    ],
)
@pytest.mark.parametrize("path", ["/run.html", "/preview", "/jobs/x/stop", "/labels/open"])
def test_what_another_site_sends_is_refused(ui: Ui, path: str, headers: dict[str, str]) -> None:
    fields = {"action": "reproduce", "command": "dvc repro"}
    assert ui.server.ask(path, fields, **headers).status == 403


def test_every_answer_limits_what_a_page_may_do(ui: Ui) -> None:
    for path in ("/index.html", "/static/ui.css", "/nothing", "/run.html?action=nothing"):
        headers = ui.server.ask(path).headers
        assert "script-src 'self';" in headers["content-security-policy"]
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert headers["cross-origin-resource-policy"] == "same-origin"
    assert ui.server.ask("/nothing").status == 404
    assert ui.server.ask("/run.html?action=nothing").status == 404


def test_pages_for_others_run_nothing(ui: Ui, job: Path) -> None:
    with serve_ui(ui.project, "--read-only") as server:
        assert server.ask("/run.html").status == 404
        assert server.ask("/labels.html").status == 404
        for path in ("/run.html", "/preview", "/jobs/x/stop", "/labels/open"):
            assert server.ask(path, {"action": "reproduce", "command": "dvc repro"}).status == 403
        assert job.name in server.ask("/jobs.html").body.decode()
        for path in ("/index.html", "/jobs.html", f"/jobs/{job.name}.html"):
            answer = server.ask(path)
            assert answer.status == 200
            assert b"<form" not in answer.body
            assert b"run.html" not in answer.body


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_can_be_used_by_all_and_fit_a_phone(ui: Ui, job: Path, scheme: Any) -> None:
    ui.page.emulate_media(color_scheme=scheme)
    ui.page.set_viewport_size({"width": 360, "height": 740})
    for path in (
        "run.html?action=experiment",
        "run.html?action=promote",
        "jobs.html",
        f"jobs/{job.name}.html",
    ):
        ui.page.goto(f"{ui.server.url}/{path}")
        assert complaints_of_axe(ui.page) == []
        assert ui.page.evaluate("() => document.documentElement.scrollWidth") <= 360
