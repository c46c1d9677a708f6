"""A sweep with the real `dvc`, in scratch copies of the checkout: whole, killed, failed."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from ops.sweep import on_local
from ops.sweep.trials import Trial
from ops.tools import git
from tests.helpers import ray_nodes, warm_python
from tests.helpers.held_training import HeldTraining
from tests.helpers.project import Project
from tests.helpers.small import SMALL
from tests.helpers.wait import until

pytestmark = pytest.mark.slow(100)

COMMAND = ("python", "-m", "ops.sweep")
SWEEP: dict[str, Any] = {
    "seeds": 2,
    "always": SMALL,
    "settings": [{"train": {"optimizer": {"lr": 0.01}}}],
}
NAMES = {f"small-{setting}-seed{seed}" for setting in ("default", "lr=0.01") for seed in (0, 1)}


def scratch(folder: Path, repository: Path | None = None) -> Project:
    project = Project.scratch(folder, repository)
    write(project, "small", SWEEP)
    return project


def write(project: Project, name: str, sweep: dict[str, Any]) -> None:
    (project.folder / f"{name}.yaml").write_text(yaml.safe_dump(sweep))


def experiments(project: Project) -> dict[str, str]:
    """The commit of each experiment, by name."""
    words = (
        "git",
        "for-each-ref",
        "--format=%(refname:lstrip=4) %(objectname)",
        "refs/exps/??/*/*",
    )
    return dict(map(str.split, project.run(*words).splitlines()))  # type: ignore[arg-type]


def lock_of(project: Project, name: str) -> str:
    """An experiment's dvc.lock, which has the digest of every output."""
    return project.run("git", "show", f"{experiments(project)[name]}:./dvc.lock")


def start(
    project: Project, held: HeldTraining, *words: str, path: str = warm_python.REAL_PATH
) -> subprocess.Popen[bytes]:
    """Start a sweep whose trainings wait, on the Python of a PATH; theirs is the real one."""
    with said(project).open("wb") as file:
        return subprocess.Popen(
            [*COMMAND, "small.yaml", *words],
            cwd=project.folder,
            env=project.environment | {"PATH": path, "SHELL": held.shell},
            stdout=subprocess.DEVNULL,
            stderr=file,
        )


def said(project: Project) -> Path:
    """The file that gets what a started sweep says."""
    return project.folder.parent / "said"


def living(project: Project) -> list[int]:
    """The processes that run in the project's clones."""
    clones = str(project.folder / ".sweep")
    return [p.pid for p in psutil.process_iter(["cwd"]) if (p.info["cwd"] or "").startswith(clones)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a complete sweep, run one trial at a time."""
    project = scratch(tmp_path_factory.mktemp("scratch") / "project")
    project.run(*COMMAND, "small.yaml")
    return project


def test_each_seed_of_each_setting_is_an_experiment_and_the_tree_stays_as_it_was(
    project: Project,
) -> None:
    assert set(project.run("dvc", "exp", "list", "--name-only").split()) == NAMES
    assert project.run("git", "status", "--porcelain", "-uno") == ""
    assert (project.folder / "sweeps" / "small.png").read_bytes().startswith(b"\x89PNG")
    assert [path.suffix for path in (project.folder / ".sweep").iterdir() if path.is_dir()] == []


def test_a_second_time_nothing_is_run_and_the_table_is_json(project: Project) -> None:
    before = experiments(project)
    found = subprocess.run(
        [*COMMAND, "small.yaml", "--json"],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "4 runs, 4 of them already complete" in found.stderr
    default, other = json.loads(found.stdout)["settings"]
    assert {*default["experiments"], *other["experiments"]} == NAMES
    assert default["difference"] is None
    assert other["mark"] == "worse"
    assert experiments(project) == before


def test_the_results_are_experiments_that_dvc_diffs_shows_and_applies(project: Project) -> None:
    one, other = "small-default-seed0", "small-lr=0.01-seed1"
    changed = project.json("dvc", "exp", "diff", one, other, "--json")
    assert set(changed["params"]["params.yaml"]) == {  # type: ignore[index]
        "train.optimizer.lr",
        "train.seed",
    }
    assert one in project.run("dvc", "exp", "show", "--csv")
    project.run("dvc", "exp", "apply", one)
    assert (project.folder / "models" / "digit-classifier" / "model.onnx").exists()
    assert "changes that are not committed: " in project.run(*COMMAND, "small.yaml", code=2)
    project.run("git", "reset", "--quiet", "--hard")
    project.run("dvc", "exp", "branch", one, "chosen")
    assert project.run("git", "show", "chosen:params.yaml")
    project.run("git", "branch", "--quiet", "-D", "chosen")


def test_an_experiment_that_was_removed_is_run_again_with_the_shared_cache(
    project: Project,
) -> None:
    name = "small-default-seed1"
    before = lock_of(project, name)
    project.run("dvc", "exp", "remove", name)
    assert "run 1 of 1" in project.run(*COMMAND, "small.yaml")
    assert "Stage 'fetch' is cached" in (project.folder / ".sweep" / f"{name}.log").read_text()
    assert lock_of(project, name) == before


def test_interrupted_and_killed_two_at_a_time_it_ends_with_the_same_bytes(
    project: Project, tmp_path: Path
) -> None:
    disturbed = scratch(tmp_path / "project")
    write(disturbed, "small", SWEEP | {"seeds": 1})
    disturbed.commit("a sweep of two runs")
    states = disturbed.folder / ".sweep"
    held = HeldTraining(tmp_path)

    def going_on() -> int:
        return sum("continuing after epoch" in log.read_text() for log in states.glob("*.log"))

    def trained() -> int:
        return len([*states.glob("*/.resume/state.safetensors")])

    for kill, code, moment in (
        (signal.SIGKILL, -signal.SIGKILL, trained),
        (signal.SIGINT, 130, going_on),
    ):
        process = start(disturbed, held, "--jobs", "2")
        until(lambda moment=moment: moment() == 2)
        process.send_signal(kill)
        assert process.wait(timeout=240) == code
        assert "Traceback" not in said(disturbed).read_text()
        until(lambda: not living(disturbed))
        assert disturbed.run("git", "status", "--porcelain", "-uno") == ""
    disturbed.run(*COMMAND, "small.yaml", "--jobs", "2")
    assert len(experiments(disturbed)) == 2
    for name in experiments(disturbed):
        assert lock_of(disturbed, name) == lock_of(project, name)


@pytest.fixture
def worktree(tmp_path: Path) -> Project:
    """A project in a subfolder of a larger repository, in a worktree of it."""
    larger = tmp_path / "larger"
    origin = scratch(larger / "vision" / "digits", repository=larger)
    write(origin, "small", SWEEP | {"seeds": 1})
    origin.commit("a sweep of two runs")
    origin.run("git", "worktree", "add", "--quiet", str(tmp_path / "tree"))
    return Project(tmp_path / "tree" / "vision" / "digits")


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_on_ray_with_the_sweep_killed_and_nodes_lost_it_ends_with_the_same_bytes(
    project: Project,
    worktree: Project,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = HeldTraining(tmp_path)
    monkeypatch.setenv("SHELL", held.shell)  # of the nodes
    states = worktree.folder / ".sweep"

    def log(name: str) -> str:
        return (states / f"{name}.log").read_text()

    def continued() -> list[str]:
        """The trials that continue, once for each time."""
        return [
            path.stem
            for path in states.glob("*.log")
            for _ in range(path.read_text().count("continuing after epoch"))
        ]

    worktree.environment |= {k: v for k, v in os.environ.items() if k.startswith("AWS_")}
    with ray_nodes.cluster() as cluster:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        words = ("--engine", "ray", "--address", cluster.address)
        process = start(worktree, held, *words, path=warm_python.path())
        until(lambda: len([*states.glob("*.resume/state.safetensors")]) == 2)
        process.kill()
        process.wait()

        process = start(worktree, held, *words, path=warm_python.path())
        until(lambda: len(continued()) == 2)
        ran = re.findall(r": (\S+), on \S+ \(node (\w+)\)", said(worktree).read_text())
        lost = {name for name, node in ran if nodes[0].node_id.startswith(node)}.pop()
        other = {name for name, _ in ran if name != lost}.pop()
        spare = cluster.add_node(num_cpus=1)
        ray_nodes.lose(cluster, nodes[0])
        until(lambda: f"{lost} starts again on " in said(worktree).read_text())
        ray_nodes.lose(cluster, spare)
        held.release()
        assert process.wait(timeout=300) == 1
        assert re.search(
            rf"^FAILED: {lost} on \S+ \(node {spare.node_id[:8]}\): its node was lost, for the "
            rf"second time; its log: .sweep/{lost}.log$",
            said(worktree).read_text(),
            re.MULTILINE,
        )
        assert list(experiments(worktree)) == [other]

        # The lost one continues; a third has a GPU, and fails before it would need it.
        fails = {"train.device": "cuda", "prepare.max_class_ratio": 1.0}
        write(worktree, "small", SWEEP | {"seeds": 1, "settings": [*SWEEP["settings"], fails]})
        worktree.run("dvc", "remote", "add", "--local", "--default", "here", bucket)
        cluster.add_node(num_cpus=1, num_gpus=1)
        process = start(worktree, held, *words, path=warm_python.path())
        assert process.wait(timeout=300) == 1
    assert re.search(
        r"run \d of 2: small-\S*device=cuda\S*, on \S+ \(node \w+, GPU 0\)",
        said(worktree).read_text(),
    )
    assert lost in continued()
    assert not [*states.glob("*.resume")]
    assert len(experiments(worktree)) == 2
    for name in experiments(worktree):
        assert lock_of(worktree, name) == lock_of(project, name)
    worktree.run("dvc", "exp", "apply", lost)
    assert (worktree.folder / "models" / "digit-classifier" / "model.onnx").exists()


def test_a_kill_while_a_clone_is_replaced_keeps_the_resume_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = scratch(tmp_path / "project")
    monkeypatch.chdir(project.folder)
    trial = Trial("one", {})
    (trial.clone / ".resume").mkdir(parents=True)
    (trial.clone / ".resume" / "state").write_text("epoch 7")
    commit = project.run("git", "rev-parse", "HEAD").strip()

    def killed(*words: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(git, "clone", killed)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                on_local.prepare(trial, commit, {})
    on_local.prepare(trial, commit, {})
    assert (trial.clone / ".resume" / "state").read_text() == "epoch 7"
    assert (trial.clone / "dvc.yaml").exists()


def test_experiments_stay_with_their_commit_when_head_moves(project: Project) -> None:
    before = project.run("git", "rev-parse", "HEAD").strip()
    project.run("git", "commit", "--quiet", "--allow-empty", "--message", "meanwhile")
    read = "from ops.tools import git; print(*git.experiments('{}'))"
    found = [project.run("python", "-c", read.format(rev)) for rev in ("HEAD", before)]
    project.run("git", "reset", "--quiet", "--soft", before)
    assert found[0] == "\n"
    assert set(found[1].split()) == NAMES


def test_a_second_sweep_at_the_same_time_is_refused(tmp_path: Path) -> None:
    project = scratch(tmp_path / "project")
    process = start(project, HeldTraining(tmp_path), path=warm_python.path())
    until((project.folder / ".sweep" / "small-default-seed0.log").exists)
    assert "another sweep is running" in project.run(*COMMAND, "small.yaml", code=2)
    process.kill()
    process.wait()
    until(lambda: not living(project))


def test_a_failed_run_is_reported_and_the_others_complete(project: Project) -> None:
    sweep = SWEEP | {"settings": [{"prepare": {"max_class_ratio": 1.0}}], "seeds": [0]}
    write(project, "fails", sweep)
    output = project.run(*COMMAND, "fails.yaml", code=1)
    name = "fails-max_class_ratio=1.0-seed0"
    assert output.splitlines()[-1] == f"failed: {name}; its log: .sweep/{name}.log"
    assert "max_class_ratio" in (project.folder / ".sweep" / f"{name}.log").read_text()
    assert "fails-default-seed0" in experiments(project)
    assert name not in experiments(project)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train.epoch": 3}, "error: wrong.yaml: train.epoch is unknown; expected one of: "),
        ({"train.ema": 2.0}, "error: wrong.yaml, ema=2.0: train: ema is 2.0; expected"),
    ],
)
def test_a_wrong_setting_stops_it_before_anything_is_run(
    project: Project, settings: dict[str, Any], message: str
) -> None:
    before = experiments(project)
    write(project, "wrong", SWEEP | {"settings": [settings]})
    output = project.run(*COMMAND, "wrong.yaml", code=2)
    assert message in output
    assert "run 1" not in output
    assert experiments(project) == before


def test_an_experiment_of_the_same_name_with_other_parameters_is_an_error(
    project: Project,
) -> None:
    write(project, "small", SWEEP | {"always": SMALL | {"train.epochs": 3}})
    output = project.run(*COMMAND, "small.yaml", code=2)
    write(project, "small", SWEEP)
    assert "the experiment small-default-seed0 exists with other parameters" in output
