"""Find the test images that models get wrong."""

from pathlib import Path

from digits.core.arrays import UInt8Array
from digits.data import dataset
from digits.gate.results import Run
from ops.tools import dvc


def find(runs: list[Run]) -> tuple[dict[int, UInt8Array], str | None]:
    """Return the images that any run gets wrong, or none and the reason why not."""
    folder = Path(dvc.DATA)
    if not runs:
        return {}, None
    if not (folder / "test-images.npy").exists():
        return {}, f"{folder}/test-images.npy is not here. Run: {dvc.command_for_outputs()}"
    test = dataset.load(folder, "test")
    if dataset.digest(test) != runs[0].scores.test_set:
        return {}, f"{folder} has other test images than these metrics. Run: dvc checkout"
    indices = set().union(*(run.wrong() for run in runs))
    return {index: test.images[index] for index in sorted(indices)}, None
