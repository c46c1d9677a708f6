"""A report of a real Git repository, and its page in a real browser."""

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from itertools import pairwise, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from playwright.sync_api import Browser

from digits.data import dataset
from digits.data.dataset import Labelled
from digits.gate import results
from ops.report import html, markdown
from tests.helpers import warm_python
from tests.helpers.metrics_files import metrics_files
from tests.helpers.pages import least_contrast
from tests.helpers.small import ROOT

pytestmark = pytest.mark.slow(2)

EVIL = "<img src=x onerror=alert(1)> @octocat https://evil.example | `x` ![i](//evil) &amp; #1"
CLASSES = ("zero", EVIL)
IMAGES = 400
Wrong = Mapping[int, tuple[int, float]]  # by position: predicted class, confidence
Report = Callable[..., subprocess.CompletedProcess[str]]


def test_images() -> Labelled:
    images = np.zeros((IMAGES, 8, 8), np.uint8)
    images[:, 2:6, 3] = 255
    images[1::2, 2, 2:6] = 200
    return Labelled(images, np.arange(IMAGES, dtype=np.uint8) % 2)


test_images.__test__ = False  # type: ignore[attr-defined]


def write_run(folder: Path, wrong: Wrong) -> None:
    """Metrics that agree with each other, and the dvc.lock that names them."""
    labels = test_images().labels
    missed = [sum(labels[i] == k for i in wrong) for k in range(2)]
    evaluation = {
        "source": "toy",
        "images": IMAGES,
        "errors": len(wrong),
        "accuracy": 1 - len(wrong) / IMAGES,
        "nll": 0.02,
        "ece": 0.01,
        "recall": {name: 1 - int(missed[k]) / 200 for k, name in enumerate(CLASSES)},
        "support": dict.fromkeys(CLASSES, 200),
        "robustness": {"blur": 0.9, EVIL: 0.8, "mean": 0.85},
        "parameters": 70,
        "model_bytes": 300,
        "model": "0" * 64,
        "test_set": dataset.digest(test_images()),
    }
    metrics = folder / "metrics"
    (metrics / "plots").mkdir(parents=True, exist_ok=True)
    (metrics / "evaluation.json").write_text(json.dumps(evaluation))
    rows = [f"{i},{quoted(labels[i])},{quoted(k)},{c}" for i, (k, c) in sorted(wrong.items())]
    (metrics / "errors.csv").write_text("\n".join(["index,label,predicted,confidence", *rows, ""]))
    (metrics / "plots" / "training.csv").write_text("epoch,train_loss\n1,0.9\n2,0.4\n")
    (metrics / "plots" / "reliability.csv").write_text(
        "lower,upper,images,confidence,accuracy\n0.9,1,400,0.98,0.97\n"
    )
    lock(folder)


def lock(folder: Path) -> None:
    """Write the dvc.lock that names the metrics."""
    paths = [folder / "metrics" / name for name in ("evaluation.json", "errors.csv")]
    outs = [
        {"path": f"metrics/{path.name}", "md5": hashlib.md5(path.read_bytes()).hexdigest()}
        for path in paths
    ]
    document = {"stages": {"evaluate": {"cmd": "e", "outs": outs}}}
    (folder / "dvc.lock").write_text(yaml.safe_dump(document))


def quoted(label: int) -> str:
    return f'"{CLASSES[label]}"'


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose first commit is the base: two images are wrong."""
    limits = {"errors": 500, "class_errors": 1000, "ece": 0.1, "nll": 0.1, "robustness": 0.5}
    rules = {
        "max_loss": 300,
        "small_sample": "pass",
        "seeds": [],
        "limits": {"toy": limits | {"model_bytes": 1000}},
    }
    params = {"train": {"lr": 0.1, "note": "plain"}, "gate": rules}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    evaluate = {"cmd": "e", "outs": ["metrics/evaluation.json", "metrics/errors.csv"]}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"evaluate": evaluate}}))
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "evaluate.py").touch()
    write_run(tmp_path, {0: (1, 0.7), 1: (0, 0.6)})
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "base")
    folder = tmp_path / "data" / "prepared"
    folder.mkdir(parents=True)
    np.save(folder / "test-images.npy", test_images().images)
    np.save(folder / "test-labels.npy", test_images().labels)
    return tmp_path


@pytest.fixture
def report(repository: Path) -> Report:
    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [warm_python.python(), "-m", "ops.report", *words],
            cwd=repository,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )

    return run


def change(repository: Path, wrong: Wrong, params: Mapping[str, Any] | None = None) -> None:
    write_run(repository, wrong)
    document = yaml.safe_load((repository / "params.yaml").read_text())
    for section, values in (params or {}).items():
        document[section] |= values
    (repository / "params.yaml").write_text(yaml.safe_dump(document))


def test_markdown_tells_verdict_figures_parameters_and_digits(
    repository: Path, report: Report
) -> None:
    change(repository, {0: (1, 0.7), 3: (0, 0.92)}, {"train": {"lr": 0.2}})
    found = report("--base", "main")
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("### PASS: no worse than main\n")
    assert "| errors | 2 | 2 |  | same |" in found.stdout
    assert "| `train.lr` | `0.1` | `0.2` |" in found.stdout
    assert "<summary>1 broken</summary>" in found.stdout
    assert "<summary>1 fixed</summary>" in found.stdout
    assert "92% sure" in found.stdout
    assert "looked at" not in found.stdout  # this is the first look at the test set
    assert "█" in found.stdout


def test_a_blocked_change_is_reported_all_the_same(repository: Path, report: Report) -> None:
    change(repository, {i: (1 - i % 2, 0.9) for i in range(2, 60)})
    found = report("--base", "main")
    assert found.returncode == 0
    assert found.stdout.startswith("### BLOCKED: ")
    assert "**beyond**" in found.stdout
    listed = found.stdout.partition("<summary>Limits: ")[2].splitlines()
    beyond = ["**beyond**" in line for line in listed if line.startswith("| `")]
    assert True in beyond
    assert beyond == sorted(beyond, reverse=True)
    assert False in beyond


def test_a_stage_that_is_out_of_date_is_noted(repository: Path, report: Report) -> None:
    change(repository, {0: (1, 0.7)})
    for name, command in (("dvc.yaml", "new"), ("dvc.lock", "old")):
        document = yaml.safe_load((repository / name).read_text())
        document["stages"]["train"] = {"cmd": command}
        (repository / name).write_text(yaml.safe_dump(document))
    found = report("--base", "main").stdout
    assert "- note: code or parameters have changed since `train` ran: `dvc repro`" in found


def test_an_override_stands_in_the_first_line(repository: Path, report: Report) -> None:
    change(repository, {i: (1 - i % 2, 0.9) for i in range(2, 60)})
    first = report("--base", "main", "--override", "known @octocat").stdout.splitlines()[0]
    assert first.startswith("### OVERRIDDEN by a reviewer (known @\u200boctocat)")


def experiment(repository: Path, name: str, wrong: Wrong, params: Mapping[str, Any]) -> None:
    """A commit where DVC keeps those of experiments; the working tree stays as it is."""
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=repository, text=True).strip()
    change(repository, wrong, params)
    git(repository, "commit", "--quiet", "--all", "-m", name)
    git(repository, "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/{name}", "HEAD")
    git(repository, "reset", "--quiet", "--hard", head)


def test_an_experiment_is_judged_by_its_name_and_not_what_is_checked_out(
    repository: Path, report: Report
) -> None:
    experiment(repository, "fast", {0: (1, 0.7), 3: (0, 0.92), 5: (0, 0.8)}, {"train": {"lr": 0.2}})
    change(repository, {i: (1 - i % 2, 0.9) for i in range(2, 60)})
    found = report("--base", "main", "--of", "fast")
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("### PASS: no worse than main\n")
    assert "| `train.lr` | `0.1` | `0.2` |" in found.stdout
    assert "looked at 2 times: better means p ≤ 0.05 / 2." in found.stdout
    assert report("--base", "fast", "--of", "main").stdout.startswith("### PASS")
    assert "'slow' is not a revision" in report("--base", "main", "--of", "slow").stderr


def test_several_stand_side_by_side_with_what_each_read(
    repository: Path, report: Report, browser: Browser
) -> None:
    experiment(repository, "fast", {0: (1, 0.7), 3: (0, 0.92)}, {"train": {"lr": 0.2}})
    many = {i: (1 - i % 2, 0.9) for i in range(0, 60)}
    experiment(repository, "wide", many, {"train": {"note": EVIL}})
    words = ["--base", "main", "--of", "fast", "--beside", "wide"]
    found = report(*words, "--html", "page.html")
    assert found.returncode == 0, found.stderr
    page = browser.new_page(viewport={"width": 360, "height": 800})
    page.goto((repository / "page.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    section = page.get_by_role("region", name="Side by side")
    assert section.locator("svg text").all_text_contents() == [
        *("main", "2"),
        *("fast", "2 (same)"),
        *("wide", "60 (+58, worse)"),
    ]
    colours = "bars => bars.map(bar => bar.classList[1])"
    assert section.locator(".bar").evaluate_all(colours) == ["before", "here", "here"]
    rows = section.locator(".contest tbody tr")
    assert [row.locator(".bad").count() for row in rows.all()] == [1, 1, 24]
    assert section.locator(".contest img").count() == 24
    assert page.locator("img[src=x]").count() == 0
    assert least_contrast(page) >= 4.5
    page.close()
    text = report(*words).stdout
    assert "|  | `main` | `fast` | `wide` |" in text
    assert "| errors | 2 | 2 same | 60 worse |" in text


def test_changed_rules_are_shown_as_not_applied(repository: Path, report: Report) -> None:
    change(repository, {0: (1, 0.7)}, {"gate": {"max_loss": 9000}})
    found = report("--base", "main").stdout
    assert "Changed here, not applied" in found
    assert "| `max_loss` | `300` | `9000` |" in found
    assert "No parameter differs." in found


def test_same_inputs_give_the_same_bytes(repository: Path, report: Report) -> None:
    change(repository, {0: (1, 0.7), 3: (0, 0.92)})
    for name in ("one", "two"):
        paths = ["--markdown", f"{name}.md", "--html", f"{name}.html"]
        assert report("--base", "main", *paths).stdout == ""
    for kind in ("md", "html"):
        assert (repository / f"one.{kind}").read_bytes() == (
            repository / f"two.{kind}"
        ).read_bytes()


def test_the_checkout_is_left_alone(repository: Path, report: Report) -> None:
    change(repository, {0: (1, 0.7)})
    words = ["git", "status", "--porcelain"]
    before = subprocess.run(words, cwd=repository, capture_output=True).stdout
    assert report("--base", "main").returncode == 0
    assert subprocess.run(words, cwd=repository, capture_output=True).stdout == before


def test_without_the_test_images_it_says_so(repository: Path, report: Report) -> None:
    change(repository, {3: (0, 0.92)})
    (repository / "data" / "prepared" / "test-images.npy").unlink()
    found = report("--base", "main", "--html", "page.html")
    assert found.returncode == 0
    page = (repository / "page.html").read_text()
    assert "test-images.npy is not here" in page
    assert "<img" not in page
    assert "test-images.npy is not here" in report("--base", "main").stdout


def test_other_test_images_are_not_shown(repository: Path, report: Report) -> None:
    change(repository, {3: (0, 0.92)})
    np.save(repository / "data" / "prepared" / "test-labels.npy", np.zeros(IMAGES, np.uint8))
    assert "other test images" in report("--base", "main").stdout


def test_there_need_be_no_base_and_no_plots(repository: Path, report: Report) -> None:
    for plot in (repository / "metrics" / "plots").iterdir():
        plot.unlink()
    found = report("--first", "--html", "page.html", "--markdown", "page.md")
    assert found.returncode == 0, found.stderr
    assert "there is no base to compare with" in (repository / "page.html").read_text()
    assert (repository / "page.md").read_text().startswith("### PASS: within all limits")


def test_a_base_may_be_a_folder(repository: Path, report: Report) -> None:
    (repository / "metrics").rename(repository / "old")
    change(repository, {3: (0, 0.92)})
    found = report("--base", "./old", "--rules", "params.yaml", "--same-evaluator")
    assert found.returncode == 0, found.stderr
    assert "<summary>2 fixed</summary>" in found.stdout


# There is always a report


def other_test_set(repository: Path) -> None:
    path = repository / "metrics" / "evaluation.json"
    path.write_text(path.read_text().replace(dataset.digest(test_images()), "f" * 64))
    lock(repository)


def other_evaluator(repository: Path) -> None:
    (repository / "stages" / "evaluate.py").write_text("changed = True\n")


def no_base_metrics(repository: Path) -> None:
    git(repository, "rm", "--quiet", "-r", "--cached", "metrics")
    git(repository, "commit", "--quiet", "-m", "without metrics")


def shallow(repository: Path) -> None:
    (repository / ".git" / "shallow").write_bytes(
        subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=repository)
    )


@pytest.mark.parametrize(
    ("make", "happened", "remedy", "differing"),
    [
        (other_test_set, "metrics cannot be compared", "--base-model", "the test set"),
        (other_evaluator, "metrics cannot be compared", "--base-model", "stages/evaluate.py"),
        (no_base_metrics, "main has no metrics/evaluation.json", "--first", None),
        (shallow, "this clone is shallow", "git fetch --unshallow", None),
    ],
)
def test_without_a_verdict_the_report_says_what_was_measured_what_differs_and_what_to_do(
    repository: Path,
    report: Report,
    browser: Browser,
    make: Callable[[Path], None],
    happened: str,
    remedy: str,
    differing: str | None,
) -> None:
    change(repository, {0: (1, 0.7), 3: (0, 0.92), 5: (0, 0.8)}, {"train": {"lr": 0.2}})
    make(repository)
    found = report("--base", "main", "--html", "page.html", "--markdown", "report.md")
    assert found.returncode == 2
    assert happened in found.stderr
    text = (repository / "report.md").read_text()
    assert text.startswith("### NO VERDICT: ")
    assert "The candidate (metrics) was measured: 3 errors in 400 test images (toy)" in text
    assert "| errors | 3 |" in text
    assert "| `train.lr` | `0.1` | `0.2` |" in text
    page = browser.new_page(viewport={"width": 360, "height": 800})
    page.goto((repository / "page.html").as_uri())
    header = page.locator("header").inner_text()
    for shown in (markdown_as_text(text.partition("|")[0]), header):
        assert happened in shown
        assert remedy in shown.partition("Next: ")[2]
        assert (f"Its evaluation differs from that of main in: {differing}." in shown) == bool(
            differing
        )
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.get_by_role("cell", name="3", exact=True).count()
    assert least_contrast(page) >= 4.5
    page.close()


def markdown_as_text(text: str) -> str:
    return re.sub(r"\\(?=[^\w\s])|\u200b", "", text)


@pytest.mark.parametrize("words", [["--base", "nobody"], ["--first"], ["--base", "main"]])
def test_metrics_that_cannot_be_read_are_reported(
    repository: Path, report: Report, words: list[str]
) -> None:
    (repository / "metrics" / "errors.csv").write_text("nothing")
    lock(repository)
    found = report(*words, "--html", "page.html", "--markdown", "report.md")
    assert found.returncode == 2
    assert "Traceback" not in found.stderr
    text = (repository / "report.md").read_text()
    assert text.startswith("### NO VERDICT: metrics/errors.csv: ")
    assert "The candidate's metrics could not be read, so there are no figures." in text
    assert "could not be read" in (repository / "page.html").read_text()


@pytest.mark.parametrize("content", ["epoch,train_loss\n1,nan\n", "epoch,train_loss\n1\n"])
def test_a_plot_that_cannot_be_read_is_named_and_the_rest_is_shown(
    repository: Path, report: Report, content: str
) -> None:
    (repository / "metrics" / "plots" / "training.csv").write_text(content)
    found = report("--base", "main", "--html", "page.html", "--markdown", "report.md")
    assert found.returncode == 2
    assert "training.csv" in found.stderr
    text = (repository / "report.md").read_text()
    assert text.startswith("### PASS: no worse than main\n")
    assert "not shown: metrics/plots/training.csv" in text
    assert "Not shown: metrics/plots/training.csv" in (repository / "page.html").read_text()


def test_terminal_comment_and_page_begin_with_the_same_sentences(
    repository: Path, report: Report, browser: Browser
) -> None:
    change(repository, {i: (1 - i % 2, 0.9) for i in range(2, 60)})
    gate = [warm_python.python(), "-m", "ops.gate", "--base", "main"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    terminal, document = (
        subprocess.run(
            [*gate, *words], cwd=repository, env=environment, capture_output=True, text=True
        ).stdout
        for words in ([], ["--json"])
    )
    sentences = [json.loads(document)["headline"], *json.loads(document)["explanation"]]
    assert len(sentences) == 5
    text = report("--base", "main").stdout
    report("--base", "main", "--html", "page.html")
    page = browser.new_page()
    page.goto((repository / "page.html").as_uri())
    header = page.locator("header").inner_text()
    page.close()
    for shown in (terminal, markdown_as_text(text), header.replace("Blocked", "BLOCKED:")):
        shown = " ".join(shown.split())
        positions = [shown.index(sentence) for sentence in sentences]
        assert positions == sorted(positions)


def test_nothing_from_a_file_acts_in_a_comment(repository: Path, report: Report) -> None:
    change(repository, {i: (1 - i % 2, 0.9) for i in range(2, 60)}, {"train": {"note": EVIL}})
    found = report("--base", "main").stdout
    spans = re.compile(r"```text\n.*?\n```|`[^`\n]*`", re.DOTALL)
    assert EVIL.split()[0] in "".join(spans.findall(found))
    outside = spans.sub("", found).replace("<details>", "").replace("</details>", "")
    outside = re.sub(r"</?summary>", "", outside)
    assert not re.search(r"(?<!\\)<|@\w|#\d|://|(?<!\\)\[", outside)


def test_prose_and_code_are_nothing_but_text() -> None:
    assert markdown.prose("@a #1 <b> [x](y) *z*\nq") == (
        "@\u200ba \\#\u200b1 \\<b\\> \\[x\\](y) \\*z\\* q"
    )
    assert markdown.prose("https://a www.b :tada:") == ("https:\u200b//a www\u200b.b :\u200btada:")
    assert markdown.code("a`b|c\n\u202ed") == "`a'b¦c  d`"
    assert markdown.code("") == "` `"
    assert len(markdown.code("x" * 10_000)) == markdown.LONGEST + 2


def test_a_comment_stays_below_githubs_limit(repository: Path, report: Report) -> None:
    names = {f"{'key' * 60}{i}": "v" * 500 for i in range(500)}
    change(repository, {i: (1 - i % 2, 0.9) for i in range(2, IMAGES)}, {"train": names})
    found = report("--base", "main").stdout
    assert len(found) < 65_536
    assert "more." in found
    assert "shown are the 24" in found


def test_blocks_that_do_not_fit_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = ("verdict", "figures", "parameters", "rules", "classes", "limits")
    for name in blocks:
        text = "x" * (50_000 if name in ("figures", "rules") else 10)
        monkeypatch.setattr(markdown, name, lambda findings, text=text: text)
    monkeypatch.setattr(markdown, "digits", lambda *args: "")

    class Empty:
        changed: tuple[list[Any], list[Any]] = ([], [])
        models: tuple[Any, ...] = ()
        data: None = None

    found = markdown.render(Empty())  # type: ignore[arg-type]
    assert "Left out, to stay within a comment's size: rules." in found


def test_the_change_of_the_confusion_is_from_the_base_to_here() -> None:
    """An image of a 3 that the base takes for a 4, and the candidate reads."""
    base, candidate = (results.parse("run", metrics_files(wrong)) for wrong in ([3], []))
    content: Any = SimpleNamespace(base=[base], candidate=[candidate])
    found = html.confusion(content)
    assert (found["here"]["3"]["3"], found["here"]["3"]["4"]) == (1000, 0)
    assert (found["change"]["3"]["3"], found["change"]["3"]["4"]) == (1, -1)


INJECT = """() => {
  const script = document.createElement("script");
  script.text = "window.ran = true";
  document.head.append(script);
  return window.ran;
}"""


def test_the_page_is_whole_in_a_browser_without_a_network(
    repository: Path, report: Report, browser: Browser
) -> None:
    change(repository, {0: (1, 0.7), 3: (0, 0.92)}, {"train": {"note": EVIL}})
    assert report("--base", "main", "--html", "page.html").returncode == 0
    file = (repository / "page.html").as_uri()
    for width, scheme in product((360, 768, 1280), ("light", "dark")):
        check_page(browser, file, width, scheme)


def check_page(browser: Browser, file: str, width: int, scheme: Any) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(file)
    assert [url for url in requests if not url.startswith("data:")] == [file]
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.locator("main").count() == 1
    assert page.get_by_role("img", name="Test image 3").count() == 2  # broken; a worst error
    assert page.locator("img[src=x]").count() == 0
    assert page.get_by_text("Pass", exact=True).is_visible()
    assert least_contrast(page) >= 4.5
    assert not page.evaluate(INJECT)  # the page's policy allows no script
    context.close()
