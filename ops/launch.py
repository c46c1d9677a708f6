"""Run a stage where and how `compute` says: python -m ops.launch [--local] stages.train ARGUMENTS

The section `compute` of params.yaml decides, or DIGITS_COMPUTE_<KEY> in the environment, which
wins. How a stage runs cannot change its results, so no stage tracks this section. With several
processes the stage runs under torchrun, whose own settings (PET_NNODES, PET_MASTER_ADDR and so on)
spread it over several hosts. A stage ends when the `dvc` that started it ends. With the backend
`sagemaker` the stage runs as a training job there, which continues without `dvc`. With --local it
runs here, in one process. PyTorch uses the same kernels everywhere: see digits/core/kernels.py.
If DVC started the stage, ops/tools/stage_runs.py keeps its time, its exit code and what it printed.
"""

import gc
import os
import runpy
import sys
from pathlib import Path

from digits.core import errors, kernels
from digits.core.command_line import say
from digits.core.errors import InputError
from digits.core.workers import WORKERS_VARIABLE
from ops.tools import stage_runs
from ops.tools.compute import ComputeParams, load_params
from ops.tools.processes import end_with_parent

GO_ON = (
    "dvc repro goes on from here, a training after its last whole epoch. Back to the results of "
    "the last commit: git checkout dvc.lock metrics && dvc checkout"
)
AGAIN = "Run the same command again; DVC's cache has the results of the stages that ended."
TEMPORARY = "/.dvc/tmp/exps/"  # where DVC runs an experiment outside of the working tree
RENDEZVOUS_S = 300  # until all hosts must have joined; PET_RDZV_CONF overrides it


def main() -> None:
    module, arguments, local = stage_and_arguments()
    kernels.pin()
    end_with_parent()
    if local or "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun started this process
        return run_here(module, arguments)
    params = load_params()
    if params.backend == "sagemaker":
        return run_on_sagemaker(params, module, arguments)
    os.environ[WORKERS_VARIABLE] = str(params.threads())
    if params.processes == 1 and "PET_NNODES" not in os.environ:
        return run_here(module, arguments)
    run_under_torchrun(params.processes, module, arguments)


def stage_and_arguments() -> tuple[str, list[str], bool]:
    """The stage's module, its arguments, and whether it has to run here."""
    words = sys.argv[1:]
    if words in (["-h"], ["--help"]):
        print(__doc__)
        sys.exit()
    is_local = words[:1] == ["--local"]
    match words[is_local:]:
        case [module, *arguments] if module.startswith("stages."):
            return module, arguments, is_local
    raise InputError(f"arguments are {words}; expected: [--local] stages.NAME ARGUMENTS")


def run_here(module: str, arguments: list[str]) -> None:
    sys.argv = [module, *arguments]
    gc.disable()  # until errors.run enables it: importing torch leaves no garbage
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ending:
        if ending.code == 130 and os.environ.get("RANK", "0") == "0":
            say(AGAIN if TEMPORARY in Path.cwd().as_posix() else GO_ON)
        raise


def run_under_torchrun(processes: int, module: str, arguments: list[str]) -> None:
    from torch.distributed import DistError  # 3 s
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.run import main as torchrun

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as the engine sets it; unset, torchrun warns
    os.environ.setdefault("PET_RDZV_CONF", f"timeout={RENDEZVOUS_S},join_timeout={RENDEZVOUS_S}")
    where = [] if "PET_NNODES" in os.environ else ["--standalone"]
    try:
        torchrun([*where, f"--nproc-per-node={processes}", "-m", "ops.launch", module, *arguments])
    except ChildFailedError:
        sys.exit(1)  # the process that failed has printed its error
    except (DistError, RendezvousError) as error:
        raise InputError(
            f"the hosts did not find each other: {error}. PET_NNODES, PET_MASTER_ADDR and "
            f"PET_MASTER_PORT must be the same on all hosts, PET_NODE_RANK different on each. "
            f"Start all hosts within {RENDEZVOUS_S} s (another limit: PET_RDZV_CONF=timeout=...)"
        ) from None


def run_on_sagemaker(params: ComputeParams, module: str, arguments: list[str]) -> None:
    from ops.tools.sagemaker import training  # boto3, which the training container lacks

    variables = {"WORKERS": params.workers, "PROCESSES": params.processes}
    environment = {f"DIGITS_COMPUTE_{key}": str(value) for key, value in variables.items()}
    training.run(module, arguments, environment)


if __name__ == "__main__":
    with stage_runs.recorded():
        errors.run(main, full_disk=errors.MAKE_ROOM_FOR_PIPELINE)
