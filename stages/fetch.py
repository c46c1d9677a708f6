"""Fetch the raw images from the source that `data.source` names -> data/raw.

`mnist` is read from the folder or URL in MNIST_MIRROR, by default from torchvision's mirrors; its
content is checked. `uci` is bundled with scikit-learn. `folder` is your own labelled images: a
folder of image files, tables, or an archive.

    python -m stages.fetch --out data/raw
"""

import argparse
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from digits.core import command_line, errors, files
from digits.core.errors import InputError, Unreachable
from digits.core.params import Params
from digits.data import dataset, image_reader, own_images, sources

WITHOUT_DOWNLOAD = """
  Have the files? MNIST_MIRROR=/path/to/folder dvc repro
  No network?     make demo   (scikit-learn's bundled digits)"""
OUTSIDE = (
    "data.folder is outside of this folder, so no commit can have these images, and the results "
    "can't be judged, kept or promoted. For that: copy them to data/own, and dvc add them"
)
Side = Annotated[int, Field(ge=image_reader.SIDES[0], le=image_reader.SIDES[1])]


class DataParams(Params):
    source: Literal["mnist", "uci", "folder"]
    folder: str
    size: tuple[Side, Side] | None
    transpose: bool


class FetchParams(Params):
    data: DataParams


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = FetchParams.load(args.params)

    if params.data.transpose and params.data.source != "folder":
        raise InputError(
            f"data.transpose is true, but the images of {params.data.source} lie upright. "
            f"Set data.transpose=false"
        )
    match params.data.source:
        case "mnist":
            try:
                raw = sources.mnist(os.environ.get("MNIST_MIRROR"))
            except Unreachable as error:
                raise Unreachable(f"{error}{WITHOUT_DOWNLOAD}") from None
        case "uci":
            raw = sources.uci()
        case "folder":
            raw = own_images.read(Path(params.data.folder), params.data.size, params.data.transpose)
    with files.new_directory(args.out, "source.json") as folder:
        dataset.save(folder, raw.source, {"train": raw.train, "test": raw.test})
    height, width = raw.train.images.shape[1:]
    print(
        f"{raw.source.name}: {len(raw.train)} training and {len(raw.test)} test images of "
        f"{height} x {width} pixels, {len(raw.source.classes)} classes"
    )
    for note in raw.notes:
        print(f"  {note}")
    folder_of_images = Path(os.path.abspath(params.data.folder))
    if params.data.source == "folder" and not folder_of_images.is_relative_to(Path.cwd()):
        print(f"  {OUTSIDE}")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser("stages.fetch", __doc__)
    parser.add_argument("--params", type=Path, default="params.yaml")
    parser.add_argument("--out", type=Path, required=True, help="folder to write: the arrays")
    return parser.parse_args(argv)


if __name__ == "__main__":
    errors.run(main, full_disk=errors.MAKE_ROOM_FOR_PIPELINE)
