"""Read the images of a user as grey images of one size, and collect what is wrong with them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from digits.core import files
from digits.core.arrays import UInt8Array
from digits.core.errors import InputError, printable
from digits.data import pixels
from digits.data.pixels import Images
from digits.imaging import decoding, model_form
from digits.imaging.preprocessing import Normalisation, Preprocessing

SIDES = (8, 256)  # pixels, smallest and largest, of an image's height and width
MAX_FAULTS = 40  # of one kind, named at once
EXAMPLE_SIDE = 64  # pixels, for images that are too large
GIT_LFS = b"version https://git-lfs.github.com/spec/"

# Advice for faults.
IF_DVC_TRACKS_IT = "If DVC tracks it: dvc checkout, or dvc pull"
REPLACE = "Restore each file that can't be read, save it as PNG, or remove it"

# The note of a data set whose method is ink-box.
INK_BOX = "all images have MNIST's form (ink of 20 pixels), so other images are brought into it"

Size = tuple[int, int]  # height and width in pixels
Method = Literal["ink-box", "resize"]


@dataclass
class Findings:
    """Collects what is wrong in a folder, so that a user can mend all of it at once.

    faults : by the advice that mends them
    passed_over : files and folders that are hidden or the operating system's
    nested : folders within the folder of a class
    """

    faults: dict[str, list[str]] = field(default_factory=dict)
    passed_over: list[Path] = field(default_factory=list)
    nested: list[Path] = field(default_factory=list)

    def add(self, fault: str, advice: str = "") -> None:
        self.faults.setdefault(advice, []).append(fault)

    def check(self, folder: Path) -> None:
        """Raises `InputError` if there are faults."""
        count = sum(map(len, self.faults.values()))
        if not count:
            return
        lines = []
        for advice, faults in self.faults.items():
            lines += faults[:MAX_FAULTS]
            if len(faults) > MAX_FAULTS:
                lines.append(f"and {len(faults) - MAX_FAULTS:,} more")
            if advice:
                lines.append(advice if count == 1 else f"=> {advice}")
        if count == 1:
            raise InputError(". ".join(lines))
        raise InputError("\n  ".join([f"{printable(folder)} has {count:,} faults:", *lines]))


class Reader:
    """Reads images into one size: the given one, or that of the first that a network can take.

    An image that can't be read is a fault; without a given size, so is one of another size.
    """

    def __init__(self, size: Size | None, transpose: bool = False) -> None:
        self.size, self.transpose, self.must_fit = size, transpose, size is not None
        self.findings = Findings()
        self._sizes: dict[str, Size] = {}  # each image's own

    def read(self, images: Images, scale: int, name: str = "") -> Iterator[UInt8Array]:
        """Yield the images in parts, uint8 (k, height, width); `name` is that of their file."""
        count = 0
        for piece in images.read(0, images.count):
            numbers = range(count, count + len(piece))
            names = [images.names[i] if images.names else f"{name}, image {i:,}" for i in numbers]
            if isinstance(piece, np.ndarray) and piece.ndim == 3:
                levels = pixels.to_levels(piece, scale)
                levels = levels.swapaxes(1, 2) if self.transpose else levels
                height, width = levels.shape[1:]
                if self._is_allowed(names[0], (height, width)):
                    yield self._fit(levels)
            else:
                for item_name, item in zip(names, piece, strict=True):
                    grey = self._decode(item_name, item, scale)
                    if grey is not None:
                        yield self._fit(grey[None])
            count += len(piece)
        if count != images.count:
            raise InputError(f"the file has {count:,} images; expected {images.count:,}")

    def check(self, path: Path) -> None:
        """Raises `InputError` if there are faults."""
        if not self.must_fit:
            self._check_sizes()
        self.findings.check(path)

    def join(self, parts: Sequence[UInt8Array]) -> UInt8Array:
        """One array of the parts that `read` has yielded."""
        return np.concatenate(parts) if parts else np.zeros((0, *(self.size or SIDES)), np.uint8)

    def _decode(self, name: str, item: Any, scale: int) -> UInt8Array | None:
        try:
            levels, size = pixels.decode(item, scale, self.size)
            if not self._is_allowed(name, size[::-1] if self.transpose else size):
                return None
            grey = decoding.grey(levels)
        except InputError as error:
            self.findings.add(f"{name}: {error}", REPLACE)
            return None
        return grey.T if self.transpose else grey

    def _is_allowed(self, name: str, size: Size) -> bool:
        """Whether an image has the size of all."""
        self._sizes[name] = size
        if self.size is None and is_in_range(size):
            self.size = size
        return self.must_fit or size == self.size

    def _fit(self, images: UInt8Array) -> UInt8Array:
        """Fit images of one size into the size of all."""
        assert self.size is not None
        ready = model_form.in_form(images, form(self.size, "resize"))
        if ready.all():
            return images
        fitted = [
            image if is_ready else model_form.fit(image, self.size)
            for image, is_ready in zip(images, ready, strict=True)
        ]
        return np.stack(fitted)

    def _check_sizes(self) -> None:
        """All images must have one size, which a network can take."""
        counts = Counter(self._sizes.values())
        if not counts:
            return
        [(size, count)] = counts.most_common(1)
        fits = is_in_range(size)
        scale = 1 if fits else min(EXAMPLE_SIDE / max(size), 1)
        example = [max(round(scale * side), SIDES[0]) for side in size]
        advice = f"To fit all images into one size, set data.size, for example to {example}"
        if not fits:
            name = next(name for name in self._sizes if self._sizes[name] == size)
            others = f" (as are {count - 1:,} others)" if count > 1 else ""
            self.findings.add(
                f"{name} is {size[0]:,} pixels high and {size[1]:,} wide{others}; expected "
                f"{SIDES[0]} to {SIDES[1]}",
                advice,
            )
        for name, (height, width) in self._sizes.items():
            if (height, width) != size:
                self.findings.add(
                    f"{name} is {height:,} pixels high and {width:,} wide; most images are "
                    f"{size[0]:,} and {size[1]:,}",
                    advice,
                )


def find_method(*parts: UInt8Array) -> Method:
    """The method that brings other images into the form of these."""
    ready = (model_form.in_form(part, form(part.shape[1:], "ink-box")).all() for part in parts)
    return "ink-box" if all(ready) else "resize"


def form(size: tuple[int, ...], method: Method) -> Preprocessing:
    height, width = size
    normalisation = Normalisation(mean=0.0, std=1.0, where="in the graph")
    return Preprocessing(
        size=(height, width), method=method, background=0, normalisation=normalisation
    )


def is_in_range(size: Size) -> bool:
    return SIDES[0] <= min(size) and max(size) <= SIDES[1]


def image_files(paths: Sequence[Path]) -> Images:
    """Image files, to be read one by one; in place of one that can't be read is its error."""
    names = tuple(printable(path) for path in paths)
    return Images("", len(paths), "files", partial(_read_files, paths), names=names)


def _read_files(paths: Sequence[Path], start: int, end: int) -> Iterator[list[Any]]:
    for path in paths[start:end]:
        try:
            decoding.check_bytes(files.check_is_regular(path))
            content = path.read_bytes()
            if content.startswith(GIT_LFS):
                raise InputError(
                    "this is Git LFS's pointer to an image. Fetch the image: git lfs pull"
                )
            yield [content]
        except InputError as error:
            yield [error]
        except FileNotFoundError:
            what = "is a link to something that does" if path.is_symlink() else "does"
            yield [InputError(f"it {what} not exist. {IF_DVC_TRACKS_IT}")]
        except OSError as error:
            yield [InputError(f"it can't be read: {error.strerror}")]
