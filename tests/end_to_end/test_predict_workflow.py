"""The step of predict.yml, and GitLab's job, as they stand there, against an S3 server."""

import os
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from digits.storage import filesystem, location
from tests.helpers import deployments, gitlab_jobs, tiny_models, warm_python
from tests.helpers.small import ROOT
from tests.ops.tools.test_inputs import IMAGES, png, write

pytestmark = pytest.mark.slow(3)

WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/predict.yml").read_text())
STEP = next(s for s in WORKFLOW["jobs"]["predict"]["steps"] if s.get("name") == "Predict")


def run(url: str, temp: Path, day: str) -> subprocess.CompletedProcess[str]:
    given = {
        "${{ inputs.day }}": day,
        "${{ vars.PREDICT_INPUT }}": f"{url}/in",
        "${{ vars.PREDICT_OUTPUT }}": f"{url}/out",
        "${{ vars.DEPLOY_URL }}": f"{url}/models",
    }
    environment = {key: given[value] for key, value in STEP["env"].items() if value in given}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEP["run"]],
        cwd=ROOT,
        env={
            **os.environ,
            "PATH": warm_python.path(),
            **environment,
            "GITHUB_STEP_SUMMARY": str(temp / "summary.md"),
        },
        capture_output=True,
        text=True,
    )


def test_a_night_reads_what_arrived_on_its_day(bucket: str, tmp_path: Path) -> None:
    assert "${{" not in STEP["run"], "GitHub would paste a stranger's text into the script"
    deployments.deploy(f"{bucket}/models", tiny_models.model(1))
    write(f"{bucket}/in", {"a.png": png(IMAGES[0]), "deep/b.png": b"hello"})
    today = datetime.fromtimestamp(time.time(), UTC).date().isoformat()
    done = run(bucket, tmp_path, today)
    assert done.returncode == 0, done.stderr
    place = location.find(f"{bucket}/out")
    (tmp_path / "rows.parquet").write_bytes(filesystem.read(place, f"{today}.parquet") or b"")
    found = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [row["path"] for row in found] == [f"{bucket}/in/a.png", f"{bucket}/in/deep/b.png"]
    assert "2 images by v1.1.0, model " in (tmp_path / "summary.md").read_text()

    there = {  # on GitLab, of yesterday: nothing arrived
        **os.environ,
        "PATH": warm_python.path(),
        "PREDICT_INPUT": f"{bucket}/in",
        "PREDICT_OUTPUT": f"{bucket}/out",
        "DEPLOY_URL": f"{bucket}/models",
    }
    quiet = gitlab_jobs.run_gitlab_job("predict", ROOT, there)
    assert quiet.returncode == 0, quiet.stdout
    assert "0 images by v1.1.0" in quiet.stdout
