"""The gate as a command, in a real Git repository."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from digits.core import files, params
from digits.core.params import override
from digits.gate import judge
from ops.gate import sentences
from ops.gate.decision import parts_of
from tests.helpers import warm_python
from tests.helpers.metrics_files import metrics_files
from tests.helpers.small import ROOT

COMMON = range(100, 130)
STATED = "(the caller states that one evaluator made both)"


class Repository:
    """A project whose base branch `main` has a model, and a candidate in its working tree."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "A user")
        self.git("config", "user.email", "user@example.com")
        shutil.copy(ROOT / "params.yaml", folder)
        files.write(folder / "stages" / "evaluate.py", "")

    def git(self, *words: str, **environment: str) -> str:
        environment = os.environ | environment
        return subprocess.check_output(["git", *words], cwd=self.folder, env=environment, text=True)

    def write(self, wrong: Iterable[int], epochs: int = 8, **changes: Any) -> None:
        """Put a run's metrics in place, as `dvc repro` would: dvc.lock names them."""
        self.write_files("metrics", metrics_files(wrong, **changes))
        self.lock(epochs)

    def write_seed(self, wrong: Iterable[int]) -> Path:
        """Put a further run in place, as `digits experiment --seeds 2` would."""
        folder = self.write_files("metrics/seed-1", metrics_files(wrong))
        shutil.copy(self.folder / "dvc.lock", folder)
        return folder

    def write_files(self, name: str, files: Mapping[str, bytes]) -> Path:
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file, content in files.items():
            (folder / file).write_bytes(content)
        return folder

    def lock(self, epochs: int = 8) -> None:
        outs = [
            {"path": f"metrics/{f.name}", "md5": hashlib.md5(f.read_bytes()).hexdigest()}
            for f in sorted((self.folder / "metrics").iterdir())
            if f.is_file()
        ]
        train = {
            "deps": [{"path": "stages/train.py", "md5": hashlib.md5(b"").hexdigest()}],
            "params": {"params.yaml": {"train": {"epochs": epochs, "seed": 0}}},
        }
        document = {"schema": "2.0", "stages": {"train": train, "evaluate": {"outs": outs}}}
        (self.folder / "dvc.lock").write_text(yaml.safe_dump(document))

    def set_rules(self, **changes: Any) -> None:
        document = override(
            params.read_yaml(self.folder / "params.yaml"),
            {f"gate.{key}": value for key, value in changes.items()},
        )
        (self.folder / "params.yaml").write_text(yaml.safe_dump(document))

    def commit(self, message: str = "a change") -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)

    def gate(self, *words: str | Path, code: int, module: str = "ops.gate") -> str:
        """What the gate prints; its exit code must be `code`."""
        found = subprocess.run(
            [warm_python.python(), "-m", module, *words],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(self.folder.parent)},
            capture_output=True,
            text=True,
        )
        assert found.returncode == code, found.stdout + found.stderr
        assert "Traceback" not in found.stderr
        return found.stderr if code == 2 else found.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    found = Repository(tmp_path / "project")
    found.write(COMMON)
    found.commit("the base")
    found.git("switch", "--quiet", "--create", "change")
    return found


def test_noise_passes_and_the_verdict_is_written(repository: Repository) -> None:
    repository.write([*COMMON, 1000, 1001])
    out = repository.folder / "verdict.json"
    printed = repository.gate("--base", "main", "--out", out, code=0)
    assert printed.startswith("PASS: no worse than main\n")
    assert "all          2 broken, 0 fixed, p = 0.5" in printed
    written = json.loads(out.read_text())
    assert written["verdict"] == "pass"
    assert written["against"]["main"]["overall"]["broken"] == 2
    assert written["bases"] == {"main": repository.git("rev-parse", "main").strip()}
    assert json.loads(repository.gate("--base", "main", "--json", code=0)) == written


def test_a_loss_is_blocked_and_the_checkout_stays_as_it_is(repository: Repository) -> None:
    repository.write([*COMMON, *range(1000, 1012)])
    before = repository.git("status", "--porcelain")
    printed = repository.gate("--base", "main", "--out", "/dev/null", code=1)
    assert printed.startswith("BLOCKED: against main, test images: 12 broken and 0 fixed, more")
    assert repository.git("status", "--porcelain") == before


def test_a_gain_is_called_one(repository: Repository) -> None:
    repository.write(COMMON[10:])
    assert repository.gate("--base", "main", code=0).startswith("PASS: better than main")


def test_a_reviewer_may_override_with_a_reason(repository: Repository) -> None:
    repository.write([*COMMON, *range(1000, 1012)])
    printed = repository.gate("--base", "main", "--override", "labels were wrong", code=0)
    assert printed.startswith("OVERRIDDEN by a reviewer (labels were wrong), in spite of: against")
    assert "--override requires a reason" in repository.gate(
        "--base", "main", "--override", " ", code=2
    )


def test_a_change_cannot_loosen_its_own_gate(repository: Repository) -> None:
    repository.set_rules(**{"max_loss": 10_000, "limits.mnist.errors": 10_000})
    repository.write(range(100))
    repository.commit()
    printed = repository.gate("--base", "main", code=1)
    assert "changed here, not applied: gate.max_loss 30 -> 10000" in printed
    assert "errors is 100; allowed is at most 60" in printed


def test_a_first_model_is_held_to_the_limits_only(repository: Repository) -> None:
    assert "there is no base" in repository.gate("--first", code=0)
    repository.write(range(61))
    assert "errors is 61" in repository.gate("--first", code=1)


def test_what_is_in_production_is_a_second_base(repository: Repository) -> None:
    repository.git("switch", "--quiet", "main")
    repository.git("tag", "--annotate", "--message=x", "digit-classifier#production#1")
    repository.git("tag", "--annotate", "--message=x", "digit-classifier#staging#7")
    repository.write([*COMMON, *range(1000, 1005)])
    repository.commit("lost five, within noise")
    repository.write([*COMMON, *range(1000, 1010)])
    printed = repository.gate("--base", "main", code=1)
    assert "BLOCKED: against digit-classifier#production#1, test images: 10 broken" in printed
    repository.git("tag", "--annotate", "--message=x", "digit-classifier#production#10")
    assert "production" not in repository.gate("--base", "main", code=0)


def test_several_seeds_lie_in_subfolders(repository: Repository) -> None:
    """On either side: what Git has of the base, and what the working tree has."""
    repository.write_seed(range(105, 135))
    repository.commit()
    repository.git("branch", "--force", "two")
    printed = repository.gate("--base", "two", code=0)
    assert "30, 30 -> 30, 30" in printed
    other = repository.write_files("other", metrics_files(COMMON))
    words = ("--base", "two", "--metrics", other, "--metrics", other, "--same-evaluator")
    assert "30, 30 -> 30, 30" in repository.gate(*words, code=0)


def test_a_further_seed_that_was_left_from_before_the_change_is_no_evidence(
    repository: Repository,
) -> None:
    seed = repository.write_seed(range(105, 135))
    kept = {path.name: path.read_bytes() for path in seed.iterdir()}
    repository.write(range(200, 255), epochs=9)
    repository.write_files("metrics/seed-1", kept)
    message = repository.gate("--base", "main", code=2)
    assert "metrics/seed-1 is not of the same parameters, code and data as metrics/" in message
    assert "metrics/: train.epochs is 8 there, and 9 here. Train its seed again" in message
    repository.commit()
    assert "train.epochs is 8" in repository.gate("--base", "main", "--of", "change", code=2)
    lock = kept["dvc.lock"].replace(b"epochs: 8", b"epochs: 9")
    other = lock.replace(hashlib.md5(b"").hexdigest().encode(), b"f" * 32)
    repository.write_files("metrics/seed-1", kept | {"dvc.lock": other})
    message = repository.gate("--base", "main", code=2)
    assert "the file stages/train.py differs. Train its seed again" in message
    repository.write_files(
        "metrics/seed-1", kept | {"dvc.lock": lock.replace(b"seed: 0", b"seed: 1")}
    )
    assert "30 -> 55, 30" in repository.gate("--base", "main", code=0)
    shutil.rmtree(seed)
    assert "BLOCKED" in repository.gate("--base", "main", code=1)


def test_an_experiment_is_judged_without_the_further_seeds_of_the_commit_before_it(
    repository: Repository,
) -> None:
    kept = {path.name: path.read_bytes() for path in repository.write_seed(range(9)).iterdir()}
    repository.commit()
    start = repository.git("rev-parse", "HEAD").strip()
    repository.write(COMMON[1:], epochs=9)
    repository.write_files("metrics/seed-1", kept)
    repository.commit()
    repository.git("update-ref", f"refs/exps/{start[:2]}/{start[2:]}/longer", "HEAD")
    repository.git("reset", "--quiet", "--hard", start)
    assert "30 -> 29, of" in repository.gate("--base", "main", "--of", "longer", code=0)


def test_several_revisions_are_runs_of_one_recipe(repository: Repository) -> None:
    for name, epochs in (("one", 8), ("two", 8), ("other", 9)):
        repository.git("switch", "--quiet", "--create", name, "main")
        repository.write(COMMON[1:], epochs, model=hashlib.sha256(name.encode()).hexdigest())
        repository.commit()
    assert "29, 29, of" in repository.gate("--base=main", "--of=one", "--of=two", code=0)
    message = repository.gate("--base=main", "--of=one", "--of=other", code=2)
    assert "other is no further seed of the first revision: train.epochs is 9 there, and" in message
    message = repository.gate("--base=main", "--of=one", "--of=one", code=2)
    assert "describe the same model. Name each run once" in message


def test_a_further_seed_that_does_not_say_how_it_was_trained_is_no_evidence(
    repository: Repository,
) -> None:
    (repository.write_seed(range(105, 135)) / "dvc.lock").unlink()
    repository.git("switch", "--quiet", "--create", "old")
    repository.commit()
    message = repository.gate("--base", "main", code=2)
    assert "data as metrics/: it has no dvc.lock to compare" in message
    shutil.rmtree(repository.folder / "metrics" / "seed-1")
    assert "30 -> 30" in repository.gate("--base", "old", code=0)


def test_a_folder_serves_as_base_with_rules(repository: Repository, tmp_path: Path) -> None:
    folder = repository.write_files("old", metrics_files(COMMON))
    assert "--rules params.yaml" in repository.gate("--base", folder, code=2)
    words = ("--base", folder, "--rules", "params.yaml", "--same-evaluator")
    printed = repository.gate(*words, code=0)
    assert printed.startswith(f"PASS {STATED}: no worse than {folder}")
    repository.git("branch", "old")
    assert "For the folder: ./old" in repository.gate("--base", "old", code=2)
    files.write(repository.folder / "else" / "notes.txt", "")
    reason = "else has no evaluation.json and no errors.csv; expected a folder as metrics/ is"
    assert reason in repository.gate("--base", "else", code=2)


def test_looks_at_the_test_set_are_counted(repository: Repository) -> None:
    for i in range(3):
        repository.write([*COMMON, 1000 + i])
        repository.commit()
    repository.write(COMMON[7:])
    printed = repository.gate("--base", "main", code=0)
    assert "looks at this test set: 5; better means p <= 0.05 / 5" in printed
    assert printed.startswith("PASS: no worse than main")
    repository.commit()
    assert repository.gate("--base", "main", code=0) == printed


def test_the_seeds_to_bring_are_the_bases_to_name(repository: Repository) -> None:
    repository.git("switch", "--quiet", "main")
    repository.set_rules(seeds=[0, 1])
    repository.commit()
    assert "gate.seeds requires runs with the seeds [0, 1]" in repository.gate(
        "--base", "main", code=2
    )


# It explains itself


def explained(repository: Repository, *words: str | Path, code: int = 0) -> str:
    """The explanation in the terminal, which is the same as in the JSON, on one line."""
    sentences = json.loads(repository.gate(*words, "--json", code=code))["explanation"]
    printed = " ".join(repository.gate(*words, code=code).split())
    assert " ".join(sentences) in printed
    return " ".join(sentences)


def test_a_test_set_that_is_too_small_is_excused_aloud(repository: Repository) -> None:
    repository.write(range(2), size=500)
    repository.commit()
    repository.git("branch", "--force", "few")
    text = explained(repository, "--base", "few")
    assert "2 errors, 2 before. Both are the same model." in text
    repository.write(range(3), size=500)
    assert "PASS: no loss shown against few\n" in repository.gate("--base", "few", code=0)
    text = explained(repository, "--base", "few")
    assert "(allowed: less than 30, for which there are too few test images)" in text
    assert "no comparison shows a loss beyond chance. The test set is too small" in text
    assert "excuse that (params.yaml: gate.small_sample), so it passes." in text


def test_a_pass_says_what_was_compared_what_decided_and_what_to_do(repository: Repository) -> None:
    repository.write([*COMMON, 1000, 1001])
    text = explained(repository, "--base", "main")
    assert text.startswith(
        "The candidate (metrics) was compared with main, image by image, on 10,000 test images "
        "(mnist), by the rules of main:params.yaml. Against main: 32 errors, 30 before. Images on "
        "which the candidate errs more often (broken): 2; less often (fixed): 0. "
    )
    assert "at most 6.0 images per 10,000 (allowed: less than 30)" in text
    assert "Every limit is held and no comparison shows a loss, so it passes." in text
    assert text.endswith("Next: merge or promote it.")
    assert "held to the limits of params.yaml only" in explained(repository, "--first")
    repository.write(COMMON[10:])
    assert "chance does not explain the gain over main" in explained(repository, "--base", "main")


@pytest.mark.parametrize(
    ("wrong", "rules", "meaning", "advice"),
    [
        (range(100, 200), {}, "A limit holds for every model", "To move a limit"),
        ([*COMMON, *range(1000, 1012)], {}, "than it fixed, by more than", "corrections.md"),
        ([103, 113, *range(1003, 1133, 10)], {}, "of one class", "the broken images"),
        ([*COMMON, *range(1000, 1002)], {"max_loss": 3}, "is not ruled out", "several seeds"),
    ],
    ids=["limit", "images", "class", "bound"],
)
def test_each_reason_to_block_says_what_it_means_and_what_to_do(
    repository: Repository, wrong: Iterable[int], rules: dict[str, Any], meaning: str, advice: str
) -> None:
    repository.set_rules(**rules)
    repository.commit()
    repository.write(wrong)
    text = explained(repository, "--base", "HEAD", code=1)
    assert meaning in text.partition("So it is blocked.")[0]
    assert advice in text.partition("Next: ")[2]
    text = explained(repository, "--base", "HEAD", "--override", "known")
    assert "a reviewer let it pass: known." in text
    assert "losses included" in text


def test_every_kind_of_reason_has_a_sentence() -> None:
    assert set(get_args(judge.Kind)) == set(sentences.KINDS)


# The best version of the last year


def test_losses_that_add_up_are_shown_against_the_best_version(repository: Repository) -> None:
    """Each loses five images, within noise; the third has lost fifteen, and passes."""
    for number, wrong in enumerate((0, 5, 10)):
        repository.write([*COMMON, *range(1000, 1000 + wrong)])
        repository.commit()
        repository.git("tag", "--annotate", "-m", "x", f"digit-classifier@v1.{number}.0")
    repository.write([*COMMON, *range(1000, 1015)])
    text = explained(repository, "--base", "HEAD")
    assert "against v1.0.0, the best version of the last year: 45 errors, 30 before." in text
    assert "(broken): 15; less often (fixed): 0." in text.partition("For information")[2]
    written = json.loads(repository.gate("--base", "HEAD", "--json", code=0))
    assert written["best_version"]["name"] == "v1.0.0"
    assert written["best_version"]["difference"]["broken"] == 15


def test_a_version_of_another_year_evaluator_or_test_set_is_not_the_best(
    repository: Repository,
) -> None:
    def tag(version: str, wrong: Iterable[int], **changes: Any) -> None:
        repository.write(wrong, **changes)
        repository.commit()
        repository.git("tag", "--annotate", "-m", "x", f"digit-classifier@{version}")

    tag("v1.0.0", COMMON[5:], test_set="c" * 64)
    files.write(repository.folder / "stages" / "evaluate.py", "changed = True\n")
    tag("v1.1.0", COMMON[5:])
    files.write(repository.folder / "stages" / "evaluate.py", "")
    (repository.folder / "metrics" / "errors.csv").write_text("broken")
    repository.commit()
    repository.git("tag", "--annotate", "-m", "x", "digit-classifier@v1.2.0")
    tag("v1.3.0", COMMON)
    tag("v1.4.0", COMMON)  # as good, and newer
    assert "against v1.4.0, the best version of the last year" in explained(
        repository, "--base", "HEAD"
    )
    later = {"GIT_COMMITTER_DATE": "2040-01-01T00:00:00Z"}
    repository.git("commit", "--quiet", "--allow-empty", "-m", "later", **later)
    assert "best version" not in explained(repository, "--base", "HEAD")


# Fails closed


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("a is missing. Run: dvc repro", ("a is missing", "Run: dvc repro")),
        ("a is missing\n  b is unknown", ("a is missing; b is unknown", "")),
        ("wrong:\n  a is missing", ("wrong: a is missing", "")),
    ],
)
def test_an_error_of_several_lines_becomes_one(message: str, expected: tuple[str, str]) -> None:
    assert parts_of(message) == expected


def test_metrics_of_other_parameters_are_refused(repository: Repository) -> None:
    document = {"stages": {"evaluate": {"cmd": "true", "params": ["train.epochs"]}}}
    (repository.folder / "dvc.yaml").write_text(yaml.safe_dump(document))
    lock = yaml.safe_load((repository.folder / "dvc.lock").read_text())
    lock["stages"]["evaluate"] |= {"cmd": "true", "params": {"params.yaml": {"train.epochs": 8}}}
    (repository.folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    repository.gate("--first", code=0)
    file = repository.folder / "params.yaml"
    file.write_text(yaml.safe_dump(override(params.read_yaml(file), {"train.epochs": 3})))
    assert (
        "the stage evaluate is out of date (train.epochs: 8 -> 3), so the metrics are not those of "
        "the code and the parameters here. Run: dvc repro"
    ) in repository.gate("--first", code=2)


def test_metrics_that_dvc_lock_does_not_name_are_refused(repository: Repository) -> None:
    repository.write_files("metrics", metrics_files(COMMON[5:]))
    message = repository.gate("--base", "main", code=2)
    assert "metrics/evaluation.json is not the file that dvc.lock names. Run: dvc repro" in message
    repository.commit()
    assert message == repository.gate("--base", "main", "--of", "change", code=2)
    (repository.folder / "metrics" / "evaluation.json").unlink()
    message = repository.gate("--base", "main", code=2)
    assert "metrics/evaluation.json is missing; it is a file that dvc.lock names" in message
    (repository.folder / "dvc.lock").unlink()
    assert "dvc.lock does not exist" in repository.gate("--base", "main", code=2)


def test_a_base_without_metrics_wants_first_to_be_said(repository: Repository) -> None:
    repository.git("rm", "--quiet", "-r", "--cached", "metrics")
    repository.git("commit", "--quiet", "--message", "none")
    message = repository.gate("--base", "HEAD", code=2)
    assert "HEAD has no metrics/evaluation.json to compare with" in message
    assert "--first" in message


@pytest.mark.parametrize("base", ["nobody", "--all", "", "main:metrics", "nowhere/metrics"])
def test_an_unknown_base_is_named(repository: Repository, base: str) -> None:
    message = repository.gate(f"--base={base}", code=2)
    assert f"{base!r} is neither a folder nor a revision" in message


def test_a_shallow_clone_is_refused(repository: Repository, tmp_path: Path) -> None:
    repository.commit()
    url = f"file://{repository.folder}"
    clone = tmp_path / "shallow"
    repository.git("clone", "--quiet", "--depth=1", "--branch=change", url, str(clone))
    repository.folder = clone
    for base in ("HEAD", "HEAD~1"):
        assert "git fetch --unshallow" in repository.gate("--base", base, code=2)


def test_rules_that_are_not_there_or_broken_are_refused(repository: Repository) -> None:
    path = repository.folder / "params.yaml"
    document = params.read_yaml(path)
    for content, message in {
        "": "params.yaml holds NoneType",
        "a: b: c": "params.yaml is not YAML",
        "data: {}": "has no section `gate`",
        "gate: 3": "gate is 3; expected a section",
        yaml.safe_dump({"gate": {**document["gate"], "max_loss": -1}}): "max_loss is -1",
        yaml.safe_dump({"gate": {"max_loss": 30}}): "limits is missing",
    }.items():
        path.write_text(content)
        repository.commit()
        assert message in repository.gate("--base", "HEAD", code=2)
    repository.git("rm", "--quiet", "params.yaml")
    repository.commit()
    assert "HEAD has no params.yaml" in repository.gate("--base", "HEAD", code=2)


@pytest.mark.parametrize("name", ["evaluation.json", "errors.csv"])
def test_broken_metrics_of_the_base_are_named(repository: Repository, name: str) -> None:
    (repository.folder / "metrics" / name).write_text("")
    repository.commit()
    repository.git("branch", "broken")
    repository.write(COMMON)
    assert f"broken:metrics/{name}" in repository.gate("--base", "broken", code=2)


def test_another_evaluator_is_not_compared_with(repository: Repository) -> None:
    pipeline = {
        "stages": {
            "evaluate": {"deps": ["digits/evaluation", "models/digit-classifier", "pins.txt"]}
        }
    }
    contents = {
        "dvc.yaml": yaml.safe_dump(pipeline),
        "stages/evaluate.py": "from digits.evaluation import metrics\n",
        "digits/evaluation/metrics.py": "a = 1\n",
        "digits/evaluation/card.py": "",
        "pins.txt": "",
    }
    for name, content in contents.items():
        files.write(repository.folder / name, content)
    repository.commit()
    files.write(repository.folder / "digits" / "evaluation" / "card.py", "not imported by it")
    repository.commit()
    repository.gate("--of", "HEAD", "--base", "HEAD~1", code=0)
    for name in ("digits/evaluation/metrics.py", "pins.txt"):
        files.write(repository.folder / name, "a = 2\n")
        repository.commit()
        message = repository.gate("--of", "HEAD", "--base", "HEAD~1", code=2)
        assert f"HEAD~1 was evaluated with different code or data ({name})" in message
        assert "--base-model" in message


def test_unknown_code_is_not_the_same_code(repository: Repository) -> None:
    folder = repository.write_files("old", metrics_files(COMMON))
    of_folder = ("--base", "main", "--metrics", folder)
    against_folder = ("--base", folder, "--rules", "params.yaml")
    for words, name in ((of_folder, str(folder)), (against_folder, str(folder))):
        message = repository.gate(*words, code=2)
        assert f"it is unknown which code evaluated {name}, so the metrics may not be" in message
        assert "--same-evaluator" in message
        assert repository.gate(*words, "--same-evaluator", code=0).startswith(f"PASS {STATED}: ")
    written = json.loads(repository.gate(*of_folder, "--same-evaluator", "--json", code=0))
    assert written["headline"].startswith(f"PASS {STATED}")
    assert written["same_evaluator"] == "stated by the caller"
    repository.write_files("old", metrics_files([*COMMON, *range(1000, 1012)]))
    printed = repository.gate(*of_folder, "--same-evaluator", code=1)
    assert printed.startswith(f"BLOCKED {STATED}: against main")


def test_a_tree_without_an_evaluator_is_unknown_code(repository: Repository) -> None:
    repository.git("rm", "--quiet", "stages/evaluate.py")
    repository.commit()
    message = repository.gate("--base", "HEAD", code=2)
    assert "it is unknown which code evaluated HEAD and metrics" in message


def test_a_statement_does_not_outweigh_what_is_known(repository: Repository) -> None:
    assert STATED not in repository.gate("--base", "main", "--same-evaluator", code=0)
    files.write(repository.folder / "stages" / "evaluate.py", "changed = True\n")
    message = repository.gate("--base", "main", "--same-evaluator", code=2)
    assert "main was evaluated with different code or data (stages/evaluate.py)" in message


@pytest.mark.parametrize("dep", ["requirements", "assets/fonts", "digits/evaluation"])
def test_a_folder_that_the_evaluator_depends_on_compares_by_its_content(
    repository: Repository, dep: str
) -> None:
    pipeline = {"stages": {"evaluate": {"deps": [dep]}}}
    files.write(repository.folder / "dvc.yaml", yaml.safe_dump(pipeline))
    files.write(repository.folder / dep / "deep" / "file.txt", "1\n")
    repository.commit()
    repository.gate("--of", "HEAD", "--base", "HEAD", code=0)
    files.write(repository.folder / dep / "deep" / "file.txt", "2\n")
    repository.commit()
    message = repository.gate("--of", "HEAD", "--base", "HEAD~1", code=2)
    assert f"different code or data ({dep}/deep/file.txt)" in message


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"cmd": "evaluate --fast"}, "the command in dvc.lock"),
        ({"params": {"params.yaml": {"evaluate.size": 3}}}, "the parameters in dvc.lock"),
        ({"deps": [{"path": "more", "md5": "1"}]}, "more"),
    ],
)
def test_how_the_evaluator_ran_is_compared(
    repository: Repository, entry: dict[str, Any], named: str
) -> None:
    lock = repository.folder / "dvc.lock"
    document = yaml.safe_load(lock.read_text())
    document["stages"]["evaluate"] |= entry
    lock.write_text(yaml.safe_dump(document))
    message = repository.gate("--base", "main", code=2)
    assert f"main was evaluated with different code or data ({named})" in message


def test_the_launcher_is_a_part_of_the_evaluator_that_it_runs(repository: Repository) -> None:
    lock = repository.folder / "dvc.lock"
    document = yaml.safe_load(lock.read_text())
    document["stages"]["evaluate"]["cmd"] = "python -m ops.launch --local stages.evaluate"
    lock.write_text(yaml.safe_dump(document))
    files.write(repository.folder / "ops" / "launch.py", "a = 1\n")
    repository.commit()
    repository.gate("--base", "HEAD", code=0)
    files.write(repository.folder / "ops" / "launch.py", "a = 2\n")
    message = repository.gate("--base", "HEAD", code=2)
    assert "HEAD was evaluated with different code or data (ops/launch.py)" in message


def test_another_test_set_is_not_compared_with(repository: Repository) -> None:
    repository.write(COMMON, test_set="c" * 64)
    message = repository.gate("--base", "main", code=2)
    assert "main was evaluated with different code or data (the test set)" in message
    folder = repository.write_files("old", metrics_files(COMMON))
    words = ("--base", folder, "--rules", "params.yaml", "--base-model")
    assert "A folder of metrics has no model" in repository.gate(*words, code=2)


def test_other_classes_pass_by_a_reviewers_reason_and_the_limits(repository: Repository) -> None:
    repository.write(COMMON, test_set="c" * 64, classes="abcdefghij")
    for words in ([], ["--base-model"]):
        message = repository.gate("--base", "main", *words, code=2)
        assert (
            "the model of main has other classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9; here a" in message
        )
        assert "--override REASON" in message
    said = repository.gate("--base", "main", code=0, module="ops.evaluators")
    assert "Nothing is fetched" in said
    text = repository.gate("--base", "main", "--base-model", "--override", "letters", code=0)
    assert text.startswith(
        "OVERRIDDEN by a reviewer (letters), in spite of: it was not compared with main, since the "
    )
    assert "was held to the limits of main:params.yaml only. It was tested on" in text
    repository.write(range(100), test_set="c" * 64, classes="abcdefghij")
    text = repository.gate("--base", "main", "--override", "letters", code=0)
    assert "in spite of: errors is 100; allowed is at most 60\n  and it was not compared" in text


@pytest.mark.parametrize("words", [[], ["--base", "main", "--first"], ["--base"]])
def test_a_base_or_its_absence_must_be_said(repository: Repository, words: list[str]) -> None:
    repository.gate(*words, code=2)
