"""The kernels that PyTorch computes with: the same ones on every x86-64 processor with AVX2.

Left alone, PyTorch, oneDNN and MKL choose kernels by the make and the generation of the processor.
These add in different orders, so the same training gives other bytes. Three variables in the
environment, read when torch is loaded, limit the choice to what all of these processors have.
"""

import os

import numpy as np

from digits.core.errors import InputError

PINS = {
    "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # convolutions
    "MKL_CBWR": "COMPATIBLE",  # matrix products, which differ between Intel and AMD
}


def are_portable() -> bool:
    """Whether this processor has the instructions that the portable kernels need."""
    extensions = np.show_config(mode="dicts")["SIMD Extensions"]
    return bool({"AVX2", "X86_V3"} & {*extensions["baseline"], *extensions["found"]})


def pin() -> None:
    """Have this process and its children use the portable kernels, if the processor has them.

    To be called before torch is loaded.
    """
    if are_portable():
        os.environ.update(PINS)


def require_pins() -> str:
    """Make sure that training and export use the portable kernels.

    Returns
    -------
    "portable"; "native" on a processor that has other kernels only: the bytes are then its own

    Raises
    ------
    InputError
        If the processor has the portable kernels, and the environment does not ask for them.
    """
    if not are_portable():
        return "native"
    if any(os.environ.get(name) != value for name, value in PINS.items()):
        pins = " ".join(f"{name}={value}" for name, value in PINS.items())
        raise InputError(
            f"PyTorch is free to choose kernels by the processor's make, and the bytes would be "
            f"this machine's own. Start it by dvc repro, or with {pins} in the environment"
        )
    return "portable"
