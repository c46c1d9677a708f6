"""A Python that has imported the libraries already: `python -m X` and `dvc` without their start-up.

To import torch, DVC and the rest takes longer than most of what the tests ask of them. So one
process imports them once, and forks for each command. A command finds `digits`, `stages` and `ops`
where it is run, as with any other Python: the checkout's own modules, which are imported too, are
used only if the files there are the checkout's.

    folder = warm_python.programs()           # has `python` and `dvc`, to go first in PATH
    subprocess.run(["python", "-m", "ops.gate", "--help"], env={"PATH": f"{folder}:{path}"})

A command has the caller's arguments, folder, environment and open files, and the caller gets its
exit code. SIGTERM is passed on, and SIGINT to all that the command started, as a terminal does. A
caller that is killed takes its command with it. What is asked in another way than `python -m` or
`-c`, the real Python runs. Tests of kills, of what ends with its parent and of how a program starts
use the real one: `sys.executable`, `REAL_PATH`.
"""

import _imp
import atexit
import contextlib
import ctypes
import gc
import hashlib
import os
import random
import runpy
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import weakref
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

# Also the modules that DVC and others import only when a command needs them.
LIBRARIES = (
    *("PIL.BmpImagePlugin", "PIL.GifImagePlugin", "PIL.ImageCms", "PIL.JpegImagePlugin"),
    *("PIL.PpmImagePlugin", "boto3", "configobj", "dulwich.porcelain", "dvc.api", "dvc.cli"),
    *("dvc.cli.parser", "dvc.commands.repro", "dvc.data_cloud", "dvc.render.match"),
    *("dvc.repo.artifacts", "dvc.repo.brancher", "dvc.repo.datasets", "dvc.repo.graph"),
    *("dvc.repo.experiments.executor.local", "dvc.repo.experiments.ls"),
    *("dvc.repo.experiments.queue.celery", "dvc.repo.experiments.queue.tempdir"),
    *("dvc.repo.experiments.queue.workspace", "dvc.repo.experiments.run"),
    *("dvc.repo.metrics.diff", "dvc.repo.params.diff", "dvc.repo.plots", "dvc.repo.reproduce"),
    *("dvc.repo.worktree", "dvc.utils.hydra", "dvc.utils.strictyaml", "dvc_data.index.push"),
    *("dvc_render.vega", "dvc_s3", "dvc_studio_client.post_live_metrics", "dvc_task.proc.manager"),
    *("fastapi", "flatten_dict", "fsspec.implementations.memory", "gto.cli", "hydra.compose"),
    *("jinja2", "matplotlib.backends.backend_agg", "matplotlib.figure", "networkx"),
    *("onnxruntime", "platformdirs", "pyarrow.csv", "pyarrow.parquet", "pydantic"),
    *("rich.json", "s3fs", "scipy.ndimage", "scipy.optimize", "scmrepo.git.backend.pygit2"),
    *("statistics", "tqdm", "uvicorn", "uvloop", "yaml"),
)
# The larger a process, the longer a fork takes: what only these need is in a process of its own.
HEAVY_LIBRARIES = (
    *("onnx", "scipy.stats", "sklearn.datasets", "sklearn.model_selection", "torch"),
    *("torch.distributed", "safetensors.torch"),
)
HEAVY_MODULES = (
    *("benchmarks.processors", "ops.launch", "ops.sweep", "ops.ui", "ops.verify"),
    *("stages.detect", "stages.export", "stages.fetch", "stages.prepare", "stages.train"),
)

ROOMS = ("digits", "ops", "serving", "stages")
CHECKOUT = Path(__file__).parents[2]

# A thread would be missing in the forks.
SINGLE_THREADED = {"ARROW_DEFAULT_MEMORY_POOL": "system", "OPENBLAS_NUM_THREADS": "1"}

LARGE_PAGE = 2 << 20  # bytes
MADV_COLLAPSE = 25  # of madvise(2)

SHARED = "DIGITS_TESTS_WARM_PYTHON"  # the environment names the folder of a process that is shared
DEADLINE_S = 300

REAL_PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # of this environment's programs

PROGRAMS = {  # and what each gives to Python before the arguments
    "python": (),
    "python3": (),
    "digits": ("-m", "ops"),
    "dvc": ("-m", "dvc"),
    "gto": ("-c", "from gto.cli import app; app()"),
}

# Started for each command, so it imports next to nothing.
CLIENT = """\
import posix, sys
import _signal, _socket
server, heavy, real, *arguments = sys.argv[1:]
if arguments[:2] == ["-u", "-m"]:  # as torchrun starts its processes
    arguments = arguments[1:]
if arguments[:1] in (["-m"], ["-c"]):
    words = [posix.getcwd(), str(len(arguments)), *arguments]
    variables = (key + b"=" + value for key, value in posix.environ.items())
    content = b"\\0".join([*(w.encode("utf-8", "surrogateescape") for w in words), *variables])
    link = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    link.connect(f"{server}.heavy" if arguments[1] in heavy.split(",") else server)
    descriptors = b"".join(n.to_bytes(4, sys.byteorder) for n in (0, 1, 2))
    link.sendmsg(
        [len(content).to_bytes(4, "big")],
        [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)],
    )
    link.sendall(content)
    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
        _signal.signal(number, lambda number, _: link.send(bytes([number])))
    answer = link.recv(4)
    code = int.from_bytes(answer, "big", signed=True) if answer else 1
    if code < 0:
        if -code != _signal.SIGKILL:
            _signal.signal(-code, _signal.SIG_DFL)
        posix.kill(posix.getpid(), -code)
    posix._exit(code)  # there is nothing to end
posix.execv(real, [real, *arguments])
"""


@cache
def programs() -> Path:
    """The folder with the programs that ask the process, which is ready."""
    folder = Path(os.environ.get(SHARED) or start())
    deadline = time.monotonic() + DEADLINE_S
    while not ((folder / "socket").exists() and (folder / "socket.heavy").exists()):
        assert time.monotonic() < deadline, "the process that imports the libraries is not ready"
        time.sleep(0.01)  # a poll
    return folder / "bin"


def share() -> None:
    """Start the process for all processes that this one starts: pytest's workers need only one."""
    os.environ[SHARED] = str(start())


def start() -> Path:
    """Start the process that imports the libraries; its folder."""
    folder = Path(tempfile.mkdtemp(prefix="warm-python-"))
    address = folder / "socket"
    (folder / "client.py").write_text(CLIENT)
    bin = folder / "bin"
    bin.mkdir()
    for name, first in PROGRAMS.items():
        program = bin / name
        client = [sys.executable, "-I", "-S", f"{folder}/client.py"]
        client += [str(address), ",".join(HEAVY_MODULES), sys.executable, *first]
        program.write_text(f'#!/bin/sh\nexec {shlex.join(client)} "$@"\n')
        program.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, __file__, str(address), str(bin / "python")],
        stdin=subprocess.PIPE,  # closed when this process ends, which ends that one
        env={**os.environ, "HOME": str(folder), **SINGLE_THREADED},
    )
    atexit.register(stop, process, folder)
    return folder


def run(
    words: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command; its output and its errors are one text.

    Like `subprocess.run`. If PATH begins with `PROGRAMS`, this asks for them itself, which saves
    starting a program that asks.
    """
    arguments = [*PROGRAMS.get(words[0], ("",)), *words[1:]]
    here = environment.get("PATH", "").partition(os.pathsep)[0]
    if here != str(programs()) or arguments[:1] not in (["-m"], ["-c"]):
        both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.run(words, cwd=folder, env=environment, text=True, **both)
    variables = (f"{name}={value}" for name, value in environment.items())
    content = "\0".join([str(folder), str(len(arguments)), *arguments, *variables])
    encoded = content.encode("utf-8", "surrogateescape")
    with socket.socket(socket.AF_UNIX) as link:
        heavy = ".heavy" if arguments[1] in HEAVY_MODULES else ""
        link.connect(f"{programs().parent}/socket{heavy}")
        output, inside = os.pipe()
        with os.fdopen(output) as printed:
            socket.send_fds(link, [len(encoded).to_bytes(4, "big")], [0, inside, inside])
            os.close(inside)
            link.sendall(encoded)
            text = printed.read()
        code = int.from_bytes(link.recv(4), "big", signed=True)
    return subprocess.CompletedProcess(words, code, text)


def python() -> Path:
    """The program to start where no PATH is given."""
    return programs() / "python"


def path() -> str:
    """PATH with these programs before all others."""
    return f"{programs()}:{REAL_PATH}"


def shell(folder: Path) -> Path:
    """A shell for the real `dvc`: has the stages other than the training run in this Python.

    For tests that kill a training. DVC starts stages by the shell that SHELL names.
    """
    file = folder / "sh"
    file.write_text(
        f'#!/bin/sh\ncase "$2" in *stages.train*) ;; *) PATH={programs()}:$PATH ;; esac\n'
        'exec /bin/sh "$@"\n'
    )
    file.chmod(0o755)
    return file


def stop(process: subprocess.Popen[bytes], folder: Path) -> None:
    process.communicate()  # closes its standard input
    subprocess.run(["rm", "-rf", folder], check=True)


def compile_checkout() -> None:
    """Compile the checkout's files once, for all copies of them: a file is known by its content."""
    paths = [p for name in ROOMS for p in (CHECKOUT / name).rglob("*.py")]
    compiled = {(text := path.read_bytes()): compile(text, path, "exec") for path in paths}
    compile_anew = SourceFileLoader.source_to_code

    def source_to_code(loader: SourceFileLoader, data: Any, path: Any, **options: Any) -> Any:
        if code := compiled.get(bytes(data)):
            _imp._fix_co_filename(code, path)  # type: ignore[attr-defined]
            return code
        return compile_anew(loader, data, path, **options)

    sys.dont_write_bytecode = True
    SourceFileLoader.source_to_code = source_to_code  # type: ignore[assignment, method-assign]


def import_checkout(missing: Iterable[str]) -> None:
    """Import the checkout's modules, but not those that need libraries that are missing here."""
    sys.path.insert(0, str(CHECKOUT))
    sys.modules |= dict.fromkeys(missing)  # type: ignore[arg-type]  # None: not to be imported
    for path in (path for room in ROOMS for path in (CHECKOUT / room).rglob("*.py")):
        if path.name != "__main__.py":
            with contextlib.suppress(ImportError):
                import_module(".".join(path.relative_to(CHECKOUT).with_suffix("").parts))
    for name in missing:
        del sys.modules[name]
    del sys.path[0]


class Checkout(NamedTuple):
    """What the process knows of the checkout: a few texts, since a fork copies what it reads."""

    files: str  # of its rooms, a line each
    times: str  # and sizes, in that order
    digest: bytes  # of their contents
    modules: str  # that are imported, a line each
    paths: str  # variables that hold a path in the checkout, a line each: module and name

    @classmethod
    def read(cls) -> "Checkout":
        paths = [p for room in ROOMS for p in (CHECKOUT / room).rglob("*") if p.is_file()]
        # Others compile the same files right now, and replace what they wrote under other names.
        names = [str(p.relative_to(CHECKOUT)) for p in paths if p.parent.name != "__pycache__"]
        modules = [name for name in sys.modules if name.partition(".")[0] in ROOMS]
        variables = [
            f"{module} {name}"
            for module in modules
            for name, value in vars(sys.modules[module]).items()
            if not name.startswith("__") and has_path(value)
        ]
        root, files = str(CHECKOUT), "\n".join(names)
        known = times_of(root, files), digest_of(root, files)
        return cls(files, *known, "\n".join(modules), "\n".join(variables))


def times_of(root: str, files: str) -> str:
    stats = (os.stat(f"{root}/{name}") for name in files.splitlines())
    return "\n".join(f"{stat.st_size} {stat.st_mtime_ns}" for stat in stats)


def digest_of(root: str, files: str) -> bytes:
    content = hashlib.sha256()
    for name in files.splitlines():
        with open(f"{root}/{name}", "rb") as file:
            content.update(hashlib.sha256(file.read()).digest())
    return content.digest()


def has_path(value: Any) -> bool:
    """Whether a value is a path in the checkout, or a list of such."""
    if isinstance(value, list | tuple):
        return any(map(has_path, value))
    return isinstance(value, str | Path) and str(value).startswith(str(CHECKOUT))


def moved(value: Any, root: str) -> Any:
    """What `has_path`, as it is in another root."""
    if isinstance(value, list | tuple):
        return type(value)(moved(each, root) for each in value)
    return type(value)(root + str(value).removeprefix(str(CHECKOUT)))


def use_checkout(checkout: Checkout) -> None:
    """Have the checkout's modules be those of the folder that Python finds the rooms in.

    If the files there are others, the modules are forgotten.
    """
    specs = [PathFinder.find_spec(room, sys.path) for room in ROOMS]
    roots = {str(Path(spec.origin).parents[1]) for spec in specs if spec and spec.origin}
    root = roots.pop() if len(roots) == 1 else "/"
    files = checkout.files
    try:
        is_same = (
            times_of(root, files) == checkout.times or digest_of(root, files) == checkout.digest
        )
    except FileNotFoundError:
        is_same = False
    if not is_same:
        for name in checkout.modules.splitlines():
            del sys.modules[name]
    elif root != str(CHECKOUT):
        for line in checkout.paths.splitlines():
            module, name = line.split()
            variables = vars(sys.modules[module])
            variables[name] = moved(variables[name], root)


def answer_requests(address: str, program: str) -> None:
    """Answer the programs at two sockets, until standard input is closed."""
    gc.disable()  # what is imported stays
    sys.executable = program  # what a command starts asks this process, too
    for name in LIBRARIES:
        import_module(name)
    compile_checkout()
    import_checkout(HEAVY_LIBRARIES)
    if not os.fork():
        for name in HEAVY_LIBRARIES:
            import_module(name)
        import_checkout(())
        address += ".heavy"
    checkout = Checkout.read()
    if not Path(address).parent.exists():  # the tests have ended meanwhile
        os._exit(0)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{address}.new")
    listener.listen(64)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(0, selectors.EVENT_READ)
    ended, wake = socket.socketpair()
    wake.setblocking(False)
    selector.register(ended, selectors.EVENT_READ)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    callers: dict[socket.socket, int] = {}
    collect_rarely()  # a child's collections then copy no page
    use_large_pages()
    for finalizer in weakref.finalize._registry:  # type: ignore[attr-defined]
        finalizer.atexit = False  # a child need not undo what the libraries registered
    os.rename(f"{address}.new", address)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                link, _ = listener.accept()
                words, folder, environment, descriptors = receive(link)
                child = os.fork()
                if not child:
                    try:
                        signal.set_wakeup_fd(-1)
                        for each in (listener, selector, ended, wake, link, *callers):
                            each.close()
                        become(words, folder, environment, descriptors, checkout)
                    finally:
                        os._exit(70)  # a fault of this file
                for descriptor in descriptors:
                    os.close(descriptor)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.setpgid(child, child)  # the child does it too: who comes first is unknown
                callers[link] = child
                selector.register(link, selectors.EVENT_READ)
            elif key.fd == 0:
                for child in callers.values():
                    os.kill(child, signal.SIGKILL)
                os._exit(0)
            elif key.fileobj is ended:
                ended.recv(4096)
            elif (link := key.fileobj) in callers:
                sent = link.recv(1)
                if sent == bytes([signal.SIGINT]):
                    os.killpg(callers[link], signal.SIGINT)
                else:
                    os.kill(callers[link], sent[0] if sent else signal.SIGKILL)
                if not sent:
                    selector.unregister(link)
        for link, child in list(callers.items()):
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                code = os.waitstatus_to_exitcode(status)
                with contextlib.suppress(OSError):
                    link.send(code.to_bytes(4, "big", signed=True))
                with contextlib.suppress(KeyError):
                    selector.unregister(link)
                link.close()
                del callers[link]


def collect_rarely() -> None:
    """Look for no garbage in what there is now, and seldom in what comes."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(100_000, 50, 100)  # a command or a test ends before its garbage is much


def use_large_pages() -> None:
    """Collapse memory into pages of 2 MB, of which a fork has less to copy; Linux since 6.1."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, access, _, _, file, *_ = line.split()
        start, end = (int(text, 16) for text in addresses.split("-"))
        if file == "0" and access == "rw-p":
            first = -(-start // LARGE_PAGE) * LARGE_PAGE
            for page in range(first, end - LARGE_PAGE + 1, LARGE_PAGE):
                libc.madvise(ctypes.c_void_p(page), ctypes.c_size_t(LARGE_PAGE), MADV_COLLAPSE)


def receive(link: socket.socket) -> tuple[list[str], str, dict[str, str], list[int]]:
    """A request: the arguments, from -m or -c on, folder, environment, standard files."""
    head, files, _, _ = socket.recv_fds(link, 4, 3)
    length = int.from_bytes(head, "big")
    content = b""
    while len(content) < length:
        content += link.recv(length - len(content))
    folder, count, *rest = content.decode("utf-8", "surrogateescape").split("\0")
    words, variables = rest[: int(count)], rest[int(count) :]
    return words, folder, dict(pair.split("=", 1) for pair in variables), list(files)


def become(
    words: list[str],
    folder: str,
    environment: dict[str, str],
    descriptors: list[int],
    checkout: Checkout,
) -> NoReturn:
    """Be the command that was asked for, as `python` would."""
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setpgid(0, 0)
    for target, descriptor in enumerate(descriptors):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", buffering=1 if os.isatty(1) else -1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False, errors="backslashreplace")
    sys.argv = words[1:] if words[0] == "-m" else ["-c", *words[2:]]
    sys.path[0] = folder
    sys.path[1:1] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    use_checkout(checkout)
    if not hasattr(sys.modules.get(words[1]), "__path__"):
        sys.modules.pop(words[1], None)  # it runs as __main__
    main = sys.modules["__main__"] = ModuleType("__main__")
    random.seed()
    code = 0
    try:
        if words[0] == "-m":
            runpy._run_module_as_main(words[1])  # type: ignore[attr-defined]
        else:
            exec(compile(words[1], "<string>", "exec"), main.__dict__)
    except SystemExit as ending:
        if isinstance(ending.code, str):
            print(ending.code, file=sys.stderr)
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except BaseException:  # the outermost edge of a process: Python itself would do the same
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code & 0xFF)


if __name__ == "__main__":
    answer_requests(*sys.argv[1:])
