"""What a detector learns from: as large as the training images; half of it is of no class."""

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import psutil
import pytest

from digits.core import kernels
from digits.core.arrays import UInt8Array
from digits.data.dataset import Labelled, Raw
from digits.drawing.canvas import CANVAS, Random
from digits.outliers import making, pictures
from ops.tools.processes import is_alive
from tests.helpers.small import ROOT
from tests.helpers.wait import until

# The same on an AVX-512 machine, and on a Haswell and an EPYC Rome that QEMU emulates. Another
# digest is a fault, unless this code, Pillow or Matplotlib's fonts have changed.
DIGEST = "92eb5407714d3906b5f560a1bda16701015263edede4edec160e3a47cd294edb"


def test_half_are_of_no_class_and_the_same_seed_makes_the_same(uci: Raw) -> None:
    made = [making.make(uci.train, 40, uci.source, seed) for seed in (0, 0, 1)]
    assert made[0].images.tobytes() == made[1].images.tobytes() != made[2].images.tobytes()
    assert made[0].images.shape == (80, *uci.train.images.shape[1:])
    assert (made[0].labels[:40] == 10).all()
    assert set(made[0].labels[40:]) == set(range(10))
    known = {i.tobytes(): k for i, k in zip(uci.train.images, uci.train.labels, strict=True)}
    as_they_were = [
        known[image.tobytes()] == label
        for image, label in zip(made[0].images[40:], made[0].labels[40:], strict=True)
        if image.tobytes() in known
    ]
    assert len(as_they_were) > 5
    assert all(as_they_were)


def test_the_number_of_processes_changes_no_byte(uci: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "CHUNK", 20)
    one, three = (making.make(uci.train, 50, uci.source, 0, workers) for workers in (1, 3))
    assert one.images.tobytes() == three.images.tobytes()
    assert one.labels.tobytes() == three.labels.tobytes()
    parts = np.split(one.images, [20, 40])
    assert len({part.tobytes()[:1000] for part in parts}) == 3


def test_killed_outright_it_leaves_no_process() -> None:
    program = (
        "import numpy as np; from digits.data.dataset import Labelled, Source; "
        "from digits.outliers import making; "
        "data = Labelled(np.zeros((10, 28, 28), np.uint8), np.zeros(10, np.uint8)); "
        "making.make(data, 100_000, Source('', ('a', 'b'), {}, 'resize'), 0, 2)"
    )
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", program], cwd=ROOT) as process:
        both = until(lambda: len(found := psutil.Process(process.pid).children()) == 2 and found)
        process.kill()
    until(lambda: not any(map(is_alive, both)), seconds=60)


@pytest.mark.skipif(not kernels.are_portable(), reason="no x86-64 processor with AVX2")
def test_they_are_the_same_on_every_processor(uci: Raw) -> None:
    made = making.make(uci.train, 300, uci.source, 0)
    assert hashlib.sha256(made.images.tobytes()).hexdigest() == DIGEST


@pytest.mark.parametrize("method", ["ink-box", "resize"])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (20, 50)])
def test_any_size_of_image_will_do(uci: Raw, size: tuple[int, int], method: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, *size), dtype=np.uint8)
    images[0] = 0
    data, source = Labelled(images, uci.train.labels[:5]), replace(uci.source, method=method)
    assert making.make(data, 80, source, 0).images.shape == (160, *size)


@pytest.mark.parametrize(("method", "is_moved"), [("ink-box", True), ("resize", False)])
def test_outliers_are_moved_to_the_middle_only_where_the_images_are(
    uci: Raw, monkeypatch: pytest.MonkeyPatch, method: str, is_moved: bool
) -> None:
    corner = np.zeros((CANVAS, CANVAS), np.uint8)
    corner[:14, :14] = 255  # a quarter of the frame: 7 of 28 pixels
    monkeypatch.setattr(making, "WAYS", {lambda *_: corner: 1})
    monkeypatch.setattr(making, "WAYS_FOR_DIGITS", {})
    made = making.make(uci.train, 40, replace(uci.source, method=method), 0)
    assert made.images[:40, 14:, 14:].any() == is_moved


def test_letters_are_outliers_only_where_the_classes_are_digits(
    uci: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def letter(rng: Random, *images: UInt8Array) -> UInt8Array:
        drawn.append(True)
        return pictures.strokes(rng)

    monkeypatch.setattr(making, "WAYS_FOR_DIGITS", {letter: 9})
    making.make(uci.train, 40, replace(uci.source, classes=("a", "1")), 0)
    assert not drawn
    making.make(uci.train, 40, uci.source, 0)
    assert drawn
