"""Run the whole pipeline on scikit-learn's bundled digits, without a network: digits demo.

The run is a DVC experiment in a folder of its own, so that the working tree stays as it is. The
model and the pictures are then copied to demo/.
"""

import json
import subprocess
from pathlib import Path

from digits.core import command_line, errors, files
from digits.core.errors import InputError
from ops.tools import git
from ops.tools.dvc import DVC
from ops.tools.presets import set_params_of

OUT = Path("demo")
EXPERIMENT = "make-demo"


def main() -> None:
    command_line.parser("ops.demo", __doc__).parse_args()
    commit = run_experiment(EXPERIMENT)
    copy_outputs(commit, OUT)
    print_table(OUT)


def run_experiment(name: str) -> str:
    """Reproduce the pipeline with the demo's parameters; the experiment's commit."""
    if name in git.experiments():
        subprocess.run([*DVC, "exp", "remove", "--quiet", name], check=True)
    words = [*DVC, "exp", "run", "--temp", "--name", name, *set_params_of("demo")]
    if subprocess.run(words).returncode:
        raise InputError("the pipeline failed; its own message stands above")
    commit = git.experiments().get(name)
    if commit is None:
        raise InputError(f"dvc made no experiment {name}; its own message stands above")
    return commit


def copy_outputs(commit: str, out: Path) -> None:
    from dvc.api import DVCFileSystem  # 0.3 s

    filesystem = DVCFileSystem(rev=commit)
    with files.new_directory(out) as folder:
        for path in ("models/digit-classifier", "metrics"):
            filesystem.get(path, str(folder / Path(path).name), recursive=True)


def print_table(out: Path) -> None:
    found = json.loads((out / "metrics" / "evaluation.json").read_text(encoding="utf-8"))
    rows = {
        "accuracy": f"{found['accuracy']:.2%}   {found['errors']} errors in {found['images']}",
        "nll": f"{found['nll']:.4f}   nats",
        "ece": f"{found['ece']:.4f}   gap between confidence and accuracy",
        "robustness": f"{found['robustness']['mean']:.2%}   mean accuracy under ten corruptions",
        "model": f"{found['model_bytes'] / 1e3:.0f} kB   {found['parameters']:,} weights",
    }
    print()
    for name, value in rows.items():
        print(f"  {name:<11} {value}")
    print(f"""
The model     {out}/digit-classifier
The pictures  {out}/metrics/plots/overview.png, {out}/metrics/plots/errors.png
Next          make repro             the same on MNIST
              source .venv/bin/activate, then
              dvc exp show --only-changed    this run beside the committed one
              dvc exp run -S train.optimizer.lr=0.1""")


if __name__ == "__main__":
    errors.run(main)
