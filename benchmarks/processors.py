"""Compare the bytes of a training between makes of processors: python -m benchmarks.processors

Trains the default recipe for a few steps on scikit-learn's digits: on this processor, and under
processors that QEMU emulates (`qemu-x86_64`, Debian's package qemu-user), some 50 times slower.
Prints a digest of the weights, of the curve and of the golden logits for each; they must be equal.
As a control it also trains without the pins of digits/core/kernels.py, which must differ.

QEMU 7.2 crashes in the vectorised grid_sample, so all sides compute that one by indexing.

Exit code 0: all are equal. 1: one differs.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import unpinned
from digits.core import command_line, errors, kernels
from digits.core.errors import InputError

ROOT = Path(__file__).parents[1]
EMULATED = ("Haswell", "Skylake-Client", "EPYC-Rome", "EPYC-Milan")
QEMU = "qemu-x86_64"
NATIVE = "this processor"
WITHOUT_PINS = "this processor, without the pins"
STEPS, BATCH = 2, 64


def main() -> None:
    args = parse_args()
    if args.child:
        print(json.dumps(train(args.steps, args.batch, args.child, args.by_index)))
        return
    if not shutil.which(QEMU):
        raise InputError(f"{QEMU} is not installed. On Debian: apt-get install qemu-user")
    digest = partial(run, args.steps, batch=args.batch)
    digests = {NATIVE: digest(), WITHOUT_PINS: digest(pinned=False)}
    for processor in args.processors:
        command_line.say(f"emulating {processor}")
        digests[processor] = digest(processor)
    width = max(map(len, digests))
    for name, found in digests.items():
        relation = "the same bytes" if found == digests[NATIVE] else "OTHER BYTES"
        print(f"{name:<{width}}  {found['digest'][:16]}  {relation}")
    equal = all(digests[name] == digests[NATIVE] for name in args.processors)
    if not args.no_result:
        from benchmarks import measure  # pins the kernels, so not in the processes that train

        content = {"steps": args.steps, "batch": args.batch, "equal": equal, "digests": digests}
        measure.save("processors", content)
    sys.exit(0 if equal else 1)


def run(
    steps: int,
    processor: str | None = None,
    *,
    batch: int = BATCH,
    pinned: bool = True,
    by_index: bool = True,
    python: str | None = None,
) -> dict[str, Any]:
    """Train in a new process, natively or emulated; the digests that it prints.

    `python` is the program to run, by default this one.
    """
    from digits.data import sources  # the processes that train do without

    python = python or os.path.realpath(sys.executable)  # QEMU runs no link of a .venv
    emulator = [QEMU, "-cpu", processor] if processor else []
    environment = unpinned.environment()
    environment |= {"PYTHONPATH": f"{ROOT}:{sysconfig.get_path('purelib')}"}
    environment |= kernels.PINS if pinned else {}
    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        # Under an emulator, importing scikit-learn takes as long as the training.
        digits = sources.uci().train
        np.savez(file, images=digits.images, labels=digits.labels)
        file.flush()
        words = [*emulator, python, "-m", "benchmarks.processors", "--child", file.name]
        words += ["--steps", str(steps), "--batch", str(batch)]
        words += ["--by-index"] if by_index else []
        process = subprocess.run(words, env=environment, capture_output=True, text=True)
    if process.returncode:
        raise InputError(f"training under {processor or NATIVE} failed: {process.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return found


def train(steps: int, batch: int, file: Path, by_index: bool) -> dict[str, str]:
    """A few steps of the default recipe, and the digest of all that comes out of it.

    `file` has images and labels; `by_index` has the images sampled as QEMU can.
    """
    import torch

    from digits.core.params import read_yaml
    from digits.data.dataset import Labelled
    from digits.model.network import Architecture, initial_network
    from digits.model.onnx_export import torch_logits
    from digits.training import loop
    from digits.training.recipe import Recipe, resolve

    if by_index:
        torch.nn.functional.grid_sample = sample_by_index  # type: ignore[assignment]
    params = read_yaml(ROOT / "params.yaml")
    data = np.load(file)
    images, labels = data["images"], data["labels"]
    learnt, val = steps * batch, slice(-batch // 2, None)
    changes = {"epochs": 1, "batch_size": batch, "device": "cpu", "precision": "float32"}
    recipe = resolve(Recipe.parse({**params["train"], **changes}))
    architecture = Architecture.parse(params["model"])
    network = initial_network(architecture, tuple("0123456789"), images, recipe.seed)
    trained = loop.train(
        network,
        recipe,
        Labelled(images[:learnt], labels[:learnt]),
        Labelled(images[val], labels[val]),
        workers=1,
    )
    digest = hashlib.sha256()
    for _, tensor in sorted(trained.network.state_dict().items()):
        digest.update(tensor.numpy().tobytes())
    digest.update(repr(trained.curve).encode())
    digest.update(torch_logits(trained.network, images[val], threads=1).tobytes())
    return {"digest": digest.hexdigest(), "torch": torch.__version__.split("+")[0]}


def sample_by_index(images: Any, grid: Any, align_corners: bool = False) -> Any:
    """As torch's grid_sample, bilinear with zeros outside, in operations that QEMU can run."""
    import torch

    n, _, height, width = images.shape
    x, y = ((grid[..., i] + 1) * side / 2 - 0.5 for i, side in enumerate((width, height)))
    pixels = images.reshape(n, -1).numpy()
    total = torch.zeros_like(x)
    for column in (x.floor(), x.floor() + 1):
        for row in (y.floor(), y.floor() + 1):
            share = (1 - (x - column).abs()) * (1 - (y - row).abs())
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
            rows = torch.arange(n).repeat_interleave(index[0].numel()).numpy()
            values = torch.from_numpy(pixels[rows, index.long().flatten().numpy()])
            total = total + values.view_as(x) * share * inside
    return total.unsqueeze(1)


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("benchmarks.processors", __doc__)
    parser.add_argument(
        "--processors",
        metavar="NAME",
        nargs="+",
        default=EMULATED,
        help=f"as `{QEMU} -cpu help` lists them (default: {' '.join(EMULATED)})",
    )
    parser.add_argument("--steps", metavar="N", type=int, default=STEPS)
    parser.add_argument("--batch", metavar="N", type=int, default=BATCH, help="images in each step")
    parser.add_argument("--no-result", action="store_true", help="write no file of results")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--by-index", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main)
