"""Run a stage where and how `compute` says: python -m ops.launch stages.train ARGUMENTS.

Reads the `compute` section of params.yaml, over which DIGITS_COMPUTE_<KEY> in the environment
wins. None of it can change a byte of the results, so no stage declares it. With several processes
the stage runs under torchrun, whose own settings (PET_NNODES, PET_MASTER_ADDR and the like)
spread it over several hosts. A stage does not outlive the `dvc` that asked for it. With the backend
`sagemaker` it runs there, as a training job, which does.
"""

import os
import runpy
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Literal

import psutil
from pydantic import Field

from digits import compute, errors
from digits.errors import InputError
from digits.params import Params, read_yaml

MEETING_S = 300  # for all hosts to be there; PET_RDZV_CONF says otherwise
SHELLS = {"sh", "bash", "dash", "zsh", "ksh", "fish"}


class ComputeParams(Params):
    workers: Literal["auto"] | Annotated[int, Field(ge=1)]
    processes: Annotated[int, Field(ge=1)]
    backend: Literal["local", "sagemaker"]


class LaunchParams(Params):
    compute: ComputeParams


def main() -> None:
    module, arguments = stage_and_arguments()
    end_with_parent()
    if "TORCHELASTIC_RUN_ID" in os.environ:  # one of torchrun's
        return run_here(module, arguments)
    params = load_params("params.yaml")
    if params.backend == "sagemaker":
        return run_on_sagemaker(params, module, arguments)
    workers = params.workers
    if workers == "auto":
        workers = max(1, compute.workers() // params.processes)
    os.environ[compute.WORKERS] = str(workers)
    if params.processes == 1 and "PET_NNODES" not in os.environ:
        return run_here(module, arguments)
    run_under_torchrun(params.processes, module, arguments)


def stage_and_arguments() -> tuple[str, list[str]]:
    match sys.argv[1:]:
        case ["-h" | "--help"]:
            print(__doc__)
            sys.exit()
        case [str(module), *arguments] if module.startswith("stages."):
            return module, arguments
        case found:
            raise InputError(f"arguments are {found}; expected: stages.NAME ARGUMENTS")


def load_params(path: str) -> ComputeParams:
    """The `compute` section, with what the environment says in its place."""
    section = dict(read_yaml(path).get("compute", {}))
    section.pop("sagemaker", None)  # read by ops/sagemaker/settings.py, where it is used
    for key in ComputeParams.model_fields:
        stated = os.environ.get(f"DIGITS_COMPUTE_{key.upper()}")
        if stated is not None:
            section[key] = int(stated) if stated.isdecimal() else stated
    origin = f"{path}, or DIGITS_COMPUTE_<KEY> in the environment"
    return LaunchParams.parse({"compute": section}, origin).compute


def elsewhere() -> dict[str, str]:
    """The environment of a pipeline in another folder: MNIST as it is found from there."""
    mirror = os.environ.get("MNIST_MIRROR")
    if mirror and Path(mirror).is_dir():
        mirror = str(Path(mirror).resolve())
    return {"MNIST_MIRROR": mirror} if mirror else {}


def run_here(module: str, arguments: list[str]) -> None:
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def run_under_torchrun(processes: int, module: str, arguments: list[str]) -> None:
    from torch.distributed import DistError  # 3 s
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.run import main as torchrun

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as the engine does; unset, torchrun warns
    os.environ.setdefault("PET_RDZV_CONF", f"timeout={MEETING_S},join_timeout={MEETING_S}")
    where = [] if "PET_NNODES" in os.environ else ["--standalone"]
    try:
        torchrun([*where, f"--nproc-per-node={processes}", "-m", "ops.launch", module, *arguments])
    except ChildFailedError:
        sys.exit(1)  # the process that failed has said why
    except (DistError, RendezvousError) as error:
        raise InputError(
            f"the hosts did not meet: {error}. PET_NNODES, PET_MASTER_ADDR and PET_MASTER_PORT "
            f"must be the same on all, PET_NODE_RANK another on each; start all within "
            f"{MEETING_S} s (PET_RDZV_CONF=timeout=... for another limit)"
        ) from None


def run_on_sagemaker(params: ComputeParams, module: str, arguments: list[str]) -> None:
    from ops.sagemaker import training  # which the container has not

    stated = {"WORKERS": params.workers, "PROCESSES": params.processes}
    environment = {f"DIGITS_COMPUTE_{key}": str(value) for key, value in stated.items()}
    training.run(module, arguments, environment)


def end_with_parent() -> None:
    """End this process when the one that asked for it ends, however that one ends.

    `dvc` starts stages through `sh -c`, which outlives it, so the shell's parent counts too. A
    shell that a person types into does not count: a run may go on in the background.
    """
    parents = psutil.Process().parents()
    by_shell = bool(parents) and parents[0].name() in SHELLS
    typed = by_shell and "-c" not in parents[0].cmdline()
    watched = [] if typed else parents[: 2 if by_shell else 1]

    def watch() -> None:
        while all(alive(parent) for parent in watched):
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    errors.run(main)
