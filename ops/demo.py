"""Run the whole pipeline on scikit-learn's bundled digits, without a network: digits demo

The run is a DVC experiment in a temporary folder, so the working tree does not change. The model
and the pictures are then copied to demo/.
"""

import json
import subprocess
from contextlib import ExitStack
from pathlib import Path
from textwrap import indent

from digits.core import command_line, errors, files
from digits.core.errors import InputError
from ops.tools import git
from ops.tools.dvc import DVC, MODEL, fetch_committed, made_experiment
from ops.tools.presets import set_params_of
from ops.tools.revisions import METRICS
from ops.tools.tables import aligned

OUT = Path("demo")
EXPERIMENT = "make-demo"


def main() -> None:
    command_line.parser("ops.demo", __doc__).parse_args()
    commit = run_experiment(EXPERIMENT)
    copy_outputs(commit, OUT)
    print_table(OUT)


def run_experiment(name: str) -> str:
    """Run the pipeline with the demo's parameters, and return the experiment's commit."""
    if name in git.experiments():
        subprocess.run([*DVC, "exp", "remove", "--quiet", name], check=True)
    words = [*DVC, "exp", "run", "--temp", "--name", name, *set_params_of("demo")]
    if subprocess.run(words).returncode:
        raise InputError("the pipeline failed; see its message above")
    return made_experiment(name)


def copy_outputs(commit: str, out: Path) -> None:
    """Copy the model and the metrics of a commit to a folder; its other files stay."""
    with ExitStack() as copies:
        for path in (MODEL, METRICS):
            folder = copies.enter_context(files.new_directory(out / Path(path).name))
            folder.rmdir()  # into a folder that exists, DVC would copy one of the same name
            fetch_committed(commit, path, folder)


def print_table(out: Path) -> None:
    m = json.loads((out / "metrics" / "evaluation.json").read_text(encoding="utf-8"))
    rows = [
        ("accuracy", f"{m['accuracy']:.2%}", f"{m['errors']} errors in {m['images']} images"),
        ("nll", f"{m['nll']:.4f}", "nats"),
        ("ece", f"{m['ece']:.4f}", "gap between confidence and accuracy"),
        ("robustness", f"{m['robustness']['mean']:.2%}", "mean accuracy under ten corruptions"),
        ("model", f"{m['model_bytes'] / 1e3:.0f} kB", f"{m['parameters']:,} weights"),
    ]
    print(f"""
{indent(aligned(rows), "  ")}

Model     {out}/digit-classifier
Pictures  {out}/metrics/plots/overview.png, {out}/metrics/plots/errors.png
Next      make repro                             run the same on MNIST
          source .venv/bin/activate              to use dvc and digits
          dvc metrics diff HEAD {EXPERIMENT:<14}   compare this run with the committed one
          dvc exp run -S train.optimizer.lr=0.1  change a parameter""")


if __name__ == "__main__":
    errors.run(main)
