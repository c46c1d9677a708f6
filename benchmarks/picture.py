"""Draw the picture that leads the README: python -m benchmarks.picture

ops/ui/overview.png is the overview in Chromium, of this checkout with a made-up past. The data and
the model that dvc.lock names must be in DVC's cache.
"""

import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from benchmarks import measure, ui
from digits.core import command_line, errors
from ops.tools.dvc import DVC

COMMITS, EXPERIMENTS = 40, 12
PICTURE = measure.ROOT / "ops" / "ui" / "overview.png"
WIDTH, HEIGHT = 1100, 920  # pixels
# Commits before HEAD, the version, and lines of the message of its assignment to production.
ASSIGNED = (
    (34, "v1.0.0", "Action: promote\nVerdict: PASS: every limit is held"),
    (21, "v1.1.0", "Action: promote\nVerdict: PASS: no worse than v1.0.0"),
    (9, "v1.2.0", "Action: promote\nVerdict: PASS: no worse than v1.1.0"),
    (21, "v1.1.0", "Action: rollback\nReason: reads 7 as 1 on the scans of one site"),
)
PEOPLE = ("Ada Okafor", "Jun Watanabe", "Lars Holm", "Jun Watanabe")


def main() -> None:
    command_line.parser("benchmarks.picture", __doc__).parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = ui.make_repository(Path(temporary) / "digits", COMMITS, EXPERIMENTS)
        assign(folder)
        bring_up_to_date(folder)
        change_a_parameter(folder)
        run(folder, sys.executable, "-m", "ops.ui", "--site", "site")
        draw(folder / "site" / "index.html")
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")


def assign(folder: Path) -> None:
    """Make the tags of the registry, each a few hours after the commit before the next one."""
    for number, (back, version, lines) in enumerate(ASSIGNED, 1):
        following = max(0, back - 1) if "promote" in lines else 3
        when = int(ui.run_git(folder, "log", "-1", "--format=%ct", f"HEAD~{following}")) + number
        who = {"NAME": PEOPLE[number - 1], "EMAIL": "person@example.com", "DATE": f"{when} +0000"}
        environment = {f"GIT_COMMITTER_{key}": value for key, value in who.items()}
        for tag in (f"digit-classifier@{version}", f"digit-classifier#production#{number}"):
            if "#" in tag or "promote" in lines:
                message = f"digit-classifier\n\nVersion: {version}\nStage: production\n{lines}"
                words = ("tag", "--annotate", "--message", message, tag, f"HEAD~{back}")
                ui.run_git(folder, *words, **environment)


def bring_up_to_date(folder: Path) -> None:
    """Have dvc.lock name this code and these files, as after `dvc repro`."""
    (folder / "data" / "prepared").unlink()
    for plot in (measure.ROOT / "metrics" / "plots").iterdir():
        if not (copy := folder / "metrics" / "plots" / plot.name).exists():
            shutil.copy2(plot, copy)
    run(folder, *DVC, "cache", "dir", "--local", str(measure.ROOT / ".dvc" / "cache"))
    run(folder, *DVC, "checkout", "--quiet", "--allow-missing")
    run(folder, *DVC, "commit", "--quiet", "--force")


def change_a_parameter(folder: Path) -> None:
    path = folder / "params.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("lr: 0.4", "lr: 0.3"), encoding="utf-8"
    )


def draw(page: Path) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        sandbox = os.geteuid() != 0  # which Chromium refuses to root
        system = shutil.which("chromium-headless-shell") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=system, chromium_sandbox=sandbox)
        shown = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        shown.goto(page.as_uri())
        content = shown.screenshot()
        browser.close()
    few_colours = Image.open(io.BytesIO(content)).convert("RGB").quantize(64)
    few_colours.save(PICTURE, optimize=True)


def run(folder: Path, *words: str) -> None:
    subprocess.run(words, cwd=folder, check=True)


if __name__ == "__main__":
    errors.run(main)
