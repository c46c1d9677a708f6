"""The same bytes on any x86-64 processor with AVX2."""

import json
import os
import shutil
from functools import partial
from pathlib import Path

import pytest

from benchmarks import processors
from digits.core import kernels
from digits.core.errors import InputError
from tests.helpers import warm_python

# By the version of PyTorch. Made on an Intel Xeon with AVX-512; a machine that finds another digest
# has found a fault: look for the operation that differs (python -m benchmarks.processors).
KNOWN = json.loads((Path(__file__).parent / "known_digests.json").read_text())

portable = pytest.mark.skipif(not kernels.are_portable(), reason="no x86-64 processor with AVX2")


@portable
def test_a_stage_without_the_pins_says_how_to_start_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernels.require_pins() == "portable"
    monkeypatch.delenv("MKL_CBWR")
    with pytest.raises(InputError, match=r"Start it by dvc repro, or with .*MKL_CBWR=COMPATIBLE"):
        kernels.require_pins()


def test_a_processor_with_other_kernels_uses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "are_portable", lambda: False)
    for name in kernels.PINS:
        monkeypatch.delenv(name, raising=False)
    kernels.pin()
    assert not kernels.PINS.keys() & os.environ.keys()
    assert kernels.require_pins() == "native"


@portable
@pytest.mark.slow(10)
def test_a_short_training_has_the_bytes_that_are_known_and_others_without_the_pins() -> None:
    pinned = processors.run(8, by_index=False, python=str(warm_python.python()))
    assert pinned["digest"] == KNOWN[pinned["torch"]]
    assert processors.run(8, pinned=False, by_index=False)["digest"] != pinned["digest"]


@portable
@pytest.mark.slow(50)
def test_an_emulated_processor_of_the_other_make_gives_the_same_bytes() -> None:
    if not shutil.which(processors.QEMU):
        assert not os.environ.get("DIGITS_REQUIRE_QEMU")
        pytest.skip(f"{processors.QEMU} is not installed (Debian: qemu-user)")
    few = partial(processors.run, 1, batch=16)  # emulated, each image takes half a second
    here = few(python=str(warm_python.python()))
    assert few("Haswell") == here != few(pinned=False)
