"""Damage in the cache and in the remote is named, and mended from the side that is whole."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from ops.doctor import Fault, Object, repair
from ops.tools import object_store
from ops.tools.object_store import Output
from tests.helpers.model_project import Models
from tests.helpers.small import ROOT
from tests.ops.tools.test_object_store import InFolder

pytestmark = pytest.mark.slow(20)


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    made = Models.create(folder / "ann", server=folder / "server", storage=Path("../storage"))
    made.run("git", "remote", "set-url", "origin", "../server")
    made.train(range(100, 130))
    return folder


@pytest.fixture
def ann(pushed: Path, tmp_path: Path) -> Models:
    """Data that are whole, wherever they are, also once the test is over."""
    shutil.copytree(pushed, tmp_path / "shop")
    return Models(tmp_path / "shop" / "ann")


def doctor(models: Models, *words: str, code: int) -> str:
    said = models.run("python", "-m", "ops.doctor", *words, code=code, PYTHONPATH=str(ROOT))
    assert "Traceback" not in said
    return said


def stored(models: Models, side: str, name: str) -> Path:
    """Where a side has the object of the model's folder, or of a file in it."""
    out = next(o for o in models.lock()["stages"]["evaluate"]["outs"] if "models" in o["path"])  # type: ignore[index]
    root = {"cache": models.folder / ".dvc" / "cache", "remote": models.folder.parent / "storage"}

    def at(oid: str) -> Path:
        return root[side] / "files" / "md5" / oid[:2] / oid[2:]

    if not name:
        return at(out["md5"])
    listed = yaml.safe_load((models.folder / "list").read_text())
    return at(next(entry["md5"] for entry in listed if entry["relpath"] == name))


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    path.unlink()
    if how == "truncated":
        path.write_bytes(content[:-1])
    elif how == "corrupt":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    if path.exists():
        path.chmod(0o444)  # which DVC takes for proof that it is whole


@pytest.fixture(autouse=True)
def _listing(ann: Models) -> None:
    """The list of the model's files, kept where no test damages it."""
    shutil.copy(stored(ann, "remote", ""), ann.folder / "list")
    (ann.folder / "list").chmod(0o644)


def test_what_is_whole_is_called_so(ann: Models) -> None:
    assert "whole: 3 objects in the cache and the remote" in doctor(ann, code=0)
    assert "whole: 3 objects" in doctor(ann, "HEAD", "--repair", code=0)
    assert "'nobody' is not a revision" in doctor(ann, "nobody", code=2)


@pytest.mark.parametrize("side", ["cache", "remote"])
@pytest.mark.parametrize("how", ["missing", "truncated", "corrupt"])
@pytest.mark.parametrize("name", ["model.onnx", ""])
def test_damage_on_one_side_is_named_and_mended(
    ann: Models, side: str, how: str, name: str
) -> None:
    path = stored(ann, side, name)
    whole = path.read_bytes()
    damage(path, how)
    shutil.rmtree(ann.folder / "models")
    said = doctor(ann, "--json", code=1)
    found = json.loads(said[said.index("{") : said.rindex("}") + 1])
    assert [(it["side"], it["state"], it["mended"]) for it in found["faults"]] == [
        (side, how, False)
    ]
    said = doctor(ann, code=1)
    where = f"models/digit-classifier/{name}" if name else "models/digit-classifier (the list"
    assert f"{how:<9} in the {side:<6}  {where}" in said
    assert said.count(" in the ") == 3  # two sides were hashed, one fault was found
    said = doctor(ann, "--repair", code=0)
    assert f"mended    in the {side}" in said
    assert path.read_bytes() == whole
    assert side == "remote" or not path.stat().st_mode & 0o222  # as DVC protects its cache
    assert "whole: 3 objects" in doctor(ann, code=0)
    ann.run("dvc", "checkout", "--quiet")
    assert (ann.folder / "models" / "digit-classifier" / "model.onnx").exists()


def test_the_command_that_repairs_names_the_revisions(ann: Models) -> None:
    damage(stored(ann, "remote", "model.onnx"), "missing")
    assert "To repair: digits doctor --repair\n" in doctor(ann, code=1)
    said = doctor(ann, "HEAD", "HEAD^{commit}", code=1)
    assert "To repair: digits doctor --repair HEAD 'HEAD^{commit}'\n" in said


@pytest.mark.parametrize("name", ["model.onnx", ""])
def test_damage_on_both_sides_is_mended_from_the_working_tree(ann: Models, name: str) -> None:
    for side in ("cache", "remote"):
        damage(stored(ann, side, name), "corrupt")
    assert doctor(ann, "--repair", code=0).count("mended") == 2
    assert "whole: 3 objects" in doctor(ann, code=0)


def test_what_no_side_has_is_to_be_made_anew(ann: Models) -> None:
    """The corrupt copy leaves the cache, where it would keep the new one out.

    The remote gets no list of files that it lacks: DVC would believe that it has them.
    """
    for side in ("cache", "remote"):
        damage(stored(ann, side, "model.onnx"), "corrupt")
    damage(stored(ann, "remote", ""), "missing")
    model = ann.folder / "models" / "digit-classifier" / "model.onnx"
    whole = model.read_bytes()
    damage(model, "corrupt")
    said = doctor(ann, "--repair", code=1)
    assert "model.onnx: dvc repro --single-item --force evaluate, then digits doctor" in said
    assert not stored(ann, "cache", "model.onnx").exists()
    assert stored(ann, "remote", "model.onnx").exists()
    assert "in the remote  models/digit-classifier, whose files are not whole" in said
    assert not stored(ann, "remote", "").exists()
    model.chmod(0o644)
    model.write_bytes(whole)
    ann.run("dvc", "commit", "--force", "--quiet")
    assert "mended    in the remote" in doctor(ann, "--repair", code=0)
    assert "whole: 3 objects" in doctor(ann, code=0)


def test_the_corrupt_copy_stays_where_another_side_had_it_whole(tmp_path: Path) -> None:
    """Though it was damaged there too since it was looked at."""
    cache, remote = (InFolder(tmp_path / name, {"a": b"damaged"}) for name in ("cache", "remote"))
    found = Object(Output(str(tmp_path / "nothing"), "train", "a"))
    faults, sides = [Fault("cache", "corrupt", found)], {"cache": cache, "remote": remote}
    [line] = repair(faults, sides, {"cache": {"a": "corrupt"}, "remote": {"a": "whole"}})
    assert line.startswith("left      in the cache")
    assert object_store.exists(cache, "a")


def test_a_folder_whose_list_is_gone_everywhere_is_named(ann: Models) -> None:
    for side in ("cache", "remote"):
        damage(stored(ann, side, ""), "truncated")
    shutil.rmtree(ann.folder / "models")
    said = doctor(ann, "--repair", code=1)
    assert "no side has the list of the files in models/digit-classifier: dvc repro" in said


def test_a_clone_that_pulled_nothing_is_no_fault(ann: Models) -> None:
    shutil.rmtree(ann.folder / ".dvc" / "cache")
    shutil.rmtree(ann.folder / "models")
    said = doctor(ann, code=0)
    assert "nothing was pulled here: only the remote is checked" in said
    damage(stored(ann, "remote", "model.onnx"), "missing")
    said = doctor(ann, code=1)
    assert "missing   in the remote  models/digit-classifier/model.onnx" in said


def test_a_remote_that_never_got_it_gets_it(ann: Models) -> None:
    shutil.rmtree(ann.folder.parent / "storage")
    assert doctor(ann, code=1).count("missing   in the remote") == 3
    assert doctor(ann, "--repair", code=0).count("mended") == 3
    assert "whole: 3 objects" in doctor(ann, code=0)


def test_a_reader_that_stops_is_no_fault_of_the_cache(ann: Models) -> None:
    damage(stored(ann, "cache", "model.onnx"), "corrupt")
    program = "import sys; sys.argv = ['x']; sys.stdout = open(1, 'w', buffering=1); from ops "
    program += "import doctor; from digits.core import errors; errors.run(doctor.main, 2)"
    words = f'sleep 0.1 | python -c "{program}" 2>../said | true; echo ${{PIPESTATUS[1]}}'
    said = ann.run("bash", "-c", words, PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1")
    said += (ann.folder.parent / "said").read_text()
    assert "can't be read" not in said
    assert "error" not in said
    assert said.startswith("141\n")


def test_without_a_remote_the_cache_is_looked_at(ann: Models) -> None:
    ann.run("dvc", "remote", "remove", "storage")
    assert "whole: 3 objects in the cache\n" in doctor(ann, code=0)
    damage(stored(ann, "cache", "model.json"), "corrupt")
    assert "corrupt   in the cache" in doctor(ann, code=1)


def test_a_remote_that_cannot_be_read_is_no_verdict(ann: Models) -> None:
    ann.run("dvc", "remote", "modify", "storage", "url", "s3://no_bucket/x")
    ann.run("dvc", "remote", "modify", "storage", "endpointurl", "http://127.0.0.1:1")
    said = ann.run(
        "python", "-m", "ops.doctor", code=2, PYTHONPATH=str(ROOT),
        AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x",
    )  # fmt: skip
    assert "error: no_bucket/x/files/md5 can't be read or written: Could not connect" in said
    (ann.folder / "dvc.lock").unlink()
    assert "dvc.lock does not exist" in doctor(ann, code=2)


@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
def test_a_shared_cache_of_links_is_as_good_as_a_cache_of_copies(ann: Models, kind: str) -> None:
    shared = ann.folder.parent / "shared"
    shutil.move(ann.folder / ".dvc" / "cache", shared)
    for name, value in {"dir": str(shared), "shared": "group", "type": kind}.items():
        ann.run("dvc", "config", f"cache.{name}", value)
    ann.run("dvc", "checkout", "--relink", "--quiet")
    model = ann.folder / "models" / "digit-classifier" / "model.onnx"
    assert model.is_symlink() if kind == "symlink" else model.stat().st_nlink > 1
    ann.commit("a shared cache of links")
    ann.run("git", "push", "--quiet", "origin", "HEAD")
    doctor(ann, code=0)
    before = model.read_bytes()
    ann.registry("promote")
    ann.train(range(100, 120))  # replaces the links, not what they lead to
    ann.run("git", "checkout", "--quiet", "HEAD~1")
    ann.run("dvc", "checkout", "--quiet")
    assert model.read_bytes() == before
    doctor(ann, code=0)
