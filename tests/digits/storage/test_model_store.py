"""Models in a folder and in S3, and what can go wrong there."""

import errno
import fcntl
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from digits.core.errors import InputError, Unreachable
from digits.model import self_test
from digits.storage import filesystem, location, model_store
from digits.storage.location import Storage
from tests.helpers.deployments import ONE, TWO, deploy, pointer, put
from tests.helpers.tiny_models import digest, model

pytestmark = pytest.mark.slow(2)

NAMES = sorted([*ONE, "manifest.json"])


# No faults


def test_a_copied_model_is_read_back(place: str, tmp_path: Path) -> None:
    new = deploy(place, ONE)
    assert model_store.read_pointer(place, "production") == new
    model_store.fetch_model(place, new.model, tmp_path / "model")
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == ONE
    assert self_test.check(tmp_path / "model") == 30


def test_where_nothing_was_deployed_there_is_no_pointer(place: str) -> None:
    assert model_store.read_pointer(place, "production") is None
    deploy(place, ONE)
    assert model_store.read_pointer(place, "staging") is None


def test_a_model_is_a_folder_or_what_a_deployment_serves(place: str, tmp_path: Path) -> None:
    served = deploy(place, ONE)
    folder, found = model_store.bring(model_store.locate(place), tmp_path)
    assert (folder, found) == (tmp_path / served.model, served)
    assert model_store.bring(model_store.locate(str(folder)), tmp_path) == (folder, None)
    with pytest.raises(InputError, match=r"no staging\.json|neither model\.json"):
        model_store.bring(model_store.locate(place, "staging"), tmp_path)


def test_by_default_the_model_is_the_pipelines_else_the_demos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"no model here: .* Train one: dvc repro"):
        model_store.locate()
    for folder in reversed(model_store.DEFAULTS):
        Path(folder).mkdir(parents=True)
        Path(folder, "model.json").write_text("{}")
        assert model_store.locate() == model_store.Location(folder, None)


def test_a_second_deployment_changes_nothing(place: str) -> None:
    assert deploy(place, ONE) == deploy(place, ONE)


def test_the_first_evaluation_is_kept(place: str, tmp_path: Path) -> None:
    """Another commit may have the same model and another evaluation."""
    new = deploy(place, ONE)
    other = json.dumps(json.loads(ONE["evaluation.json"]) | {"nll": 0.5}).encode()
    deploy(place, ONE | {"evaluation.json": other}, 2)
    model_store.fetch_model(place, new.model, tmp_path / "model")
    assert (tmp_path / "model" / "evaluation.json").read_bytes() == ONE["evaluation.json"]


def test_a_copy_that_is_there_already_becomes_as_young_as_a_new_one(tmp_path: Path) -> None:
    """Else prune could remove it before the pointer moves to it."""
    model_store.put_model(str(tmp_path), ONE, "it")
    [folder] = [path for path in tmp_path.iterdir() if path.is_dir()]
    for path in folder.iterdir():
        os.utime(path, (1, 1))
    model_store.put_model(str(tmp_path), ONE, "it")
    assert (folder / "manifest.json").stat().st_mtime > time.time() - model_store.GRACE_S


def test_a_manifest_that_does_not_read_back_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = filesystem.write

    def damage_manifest(storage: Storage, name: str, content: bytes) -> None:
        write(storage, name, content[:-2] if name.endswith("manifest.json") else content)

    monkeypatch.setattr(filesystem, "write", damage_manifest)
    with pytest.raises(InputError, match=r"manifest\.json is damaged"):
        model_store.put_model(str(tmp_path), ONE, "it")


@pytest.mark.parametrize("url", ["gs://bucket", "https://example.com/x", "s3://", "s3:///"])
def test_a_url_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="expected a folder or s3://bucket/prefix"):
        model_store.read_pointer(url, "production")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.onnx": ONE["model.onnx"][:-1]}, "model.onnx has sha256"),
        ({"golden.npz": b""}, "golden.npz has sha256"),
        ({"model.json": b"{}"}, "model.json describes no model"),
        ({"model.json": b"\xff"}, "model.json describes no model"),
        ({"evaluation.json": TWO["evaluation.json"]}, "Only an evaluated model is served"),
        ({"evaluation.json": b"[]"}, "evaluation.json names no model"),
    ],
)
def test_files_that_do_not_belong_together_are_not_copied(
    tmp_path: Path, changes: dict[str, bytes], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        model_store.put_model(str(tmp_path / "store"), ONE | changes, "the model")
    with pytest.raises(InputError, match=r"the model lacks golden\.npz"):
        model_store.check({k: v for k, v in ONE.items() if k != "golden.npz"}, "the model")
    assert not (tmp_path / "store").exists()


# Two at once


def test_a_pointer_moves_only_from_what_was_seen(place: str) -> None:
    first = deploy(place, ONE)
    deploy(place, TWO, 2)
    with pytest.raises(InputError, match=r"another deployment moved .* to v1\.2\.0"):
        model_store.move_pointer(place, "production", pointer(ONE, 3), first)
    with pytest.raises(InputError, match="another deployment moved"):
        model_store.move_pointer(place, "production", pointer(ONE, 3), None)
    assert model_store.read_pointer(place, "production") == pointer(TWO, 2)


def test_one_of_many_wins_and_the_others_say_so(place: str) -> None:
    seen = deploy(place, ONE)
    start, won, lost = threading.Barrier(8), [], []

    def move(number: int) -> None:
        start.wait()
        try:
            model_store.move_pointer(place, "production", pointer(TWO, number), seen)
            won.append(number)
        except InputError as error:
            lost.append(str(error))

    threads = [threading.Thread(target=move, args=[number]) for number in range(2, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert model_store.read_pointer(place, "production") == pointer(TWO, won[0])
    assert all("another deployment moved" in message for message in lost)


def test_a_lock_that_is_held_is_waited_for_and_then_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "LOCK_S", 0.1)
    deploy(str(tmp_path), ONE)
    with open(tmp_path / ".lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Unreachable, match=r"another deployment has held .*\.lock .* fuser"):
            model_store.move_pointer(str(tmp_path), "production", pointer(TWO, 2), pointer(ONE, 1))


# Damage


def flip(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 4]) + content[-8:]


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damage_is_named_never_fetched_and_repaired_by_another_copy(
    place: str, tmp_path: Path, damage: str
) -> None:
    new, target = deploy(place, ONE), location.find(place)
    for name in NAMES:
        path = f"{new.model}/{name}"
        content = filesystem.read(target, path)
        assert content is not None
        if damage == "remove":
            target.filesystem.rm_file(target.path(path))
        else:
            put(place, path, flip(content) if damage == "flip" else content[:-5])
        with pytest.raises(InputError, match=rf"{name}.*deploy to {place} again"):
            model_store.fetch_model(place, new.model, tmp_path / "model")
        assert not (tmp_path / "model").exists()
        deploy(place, ONE)
    model_store.fetch_model(place, new.model, tmp_path / "model")
    assert self_test.check(tmp_path / "model") == 30


def test_a_failed_fetch_leaves_the_folder_that_was_there(place: str, tmp_path: Path) -> None:
    old, new = deploy(place, ONE), deploy(place, TWO, 2)
    model_store.fetch_model(place, old.model, tmp_path / "model")
    put(place, f"{new.model}/model.onnx", ONE["model.onnx"])
    with pytest.raises(InputError, match=r"model\.onnx is damaged"):
        model_store.fetch_model(place, new.model, tmp_path / "model")
    assert (tmp_path / "model" / "model.json").read_bytes() == ONE["model.json"]


def test_a_pointer_to_a_removed_model_is_reported(place: str, tmp_path: Path) -> None:
    put(place, "production.json", model_store._json(pointer(ONE, 1)))
    found = model_store.read_pointer(place, "production")
    assert found is not None
    with pytest.raises(InputError, match=r"no manifest\.json: the model was removed.*deploy to"):
        model_store.fetch_model(place, found.model, tmp_path / "model")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"model": "../../x", "version": "v1.0.0", "tag": "a"}',
        b'{"model": "' + b"a" * 64 + b'", "version": "v1.0.0"}',
    ],
)
def test_a_damaged_pointer_is_refused(place: str, content: bytes) -> None:
    put(place, "production.json", content)
    with pytest.raises(InputError, match=r"production\.json is damaged: .* remove it"):
        model_store.read_pointer(place, "production")


def test_a_manifest_cannot_name_other_files(place: str, tmp_path: Path) -> None:
    new = deploy(place, ONE)
    files = {"../../outside": "a" * 64}
    put(place, f"{new.model}/manifest.json", json.dumps({"files": files}).encode())
    with pytest.raises(InputError, match=r"manifest\.json is damaged: it describes another model"):
        model_store.fetch_model(place, new.model, tmp_path / "model")


# Prune


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all was written more than an hour ago."""
    monkeypatch.setattr(model_store, "GRACE_S", -60)


def ids(url: str) -> set[str]:
    return set(model_store._models(location.find(url)))


def test_prune_keeps_the_models_that_a_pointer_names(place: str, old: None) -> None:
    three = model(3)
    staged, served = deploy(place, ONE), deploy(place, TWO, 2)
    model_store.move_pointer(place, "staging", staged, None)
    model_store.put_model(place, three, "the model")
    put(place, "notes.txt", b"not ours")
    put(place, "other/file", b"not ours")
    assert model_store.prune(place, keep=0) == [digest(three["model.json"])]
    assert ids(place) == {staged.model, served.model}
    assert filesystem.read(location.find(place), "other/file") == b"not ours"
    assert model_store.prune(place, keep=0) == []


def test_prune_keeps_the_newest(tmp_path: Path, old: None) -> None:
    url, models = str(tmp_path), [model(i) for i in range(5)]
    names = [deploy(url, each).model for each in models]
    for age, name in zip([1, 2, 3, 4, 5], names, strict=True):
        os.utime(tmp_path / name / "manifest.json", (10**9 - age,) * 2)
    (tmp_path / names[1] / "manifest.json").unlink()  # a copy that was never finished
    assert set(model_store.prune(url, keep=2)) == {
        names[1],
        names[3],
    }  # 4 is served, 0 and 2 are kept


def test_prune_keeps_the_models_of_the_last_hour(place: str) -> None:
    deploy(place, ONE)
    model_store.put_model(place, TWO, "the model")
    put(place, f"{'a' * 64}/model.onnx", b"half")
    assert model_store.prune(place, keep=0) == []


def test_prune_reads_the_pointers_again_before_it_removes(
    place: str, old: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(place, ONE)
    model_store.put_model(place, TWO, "the model")
    models = model_store._models
    monkeypatch.setattr(
        model_store, "_models", lambda found: (models(found), deploy(place, TWO, 2))[0]
    )
    assert model_store.prune(place, keep=0) == [digest(ONE["model.json"])]


def test_prune_removes_nothing_if_the_served_model_is_unknown(place: str, old: None) -> None:
    model_store.put_model(place, ONE, "the model")
    with pytest.raises(InputError, match="the served model is unknown"):
        model_store.prune(place, keep=0)
    deploy(place, ONE)
    model_store.put_model(place, TWO, "the model")
    put(place, "staging.json", b"{")
    with pytest.raises(InputError, match=r"staging\.json is damaged"):
        model_store.prune(place, keep=0)
    assert ids(place) == {digest(ONE["model.json"]), digest(TWO["model.json"])}


# The disk


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True).returncode:
        pytest.skip("mounting a small disk takes root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_on_a_full_disk_the_old_model_is_served_until_there_is_room(tiny_disk: Path) -> None:
    """A page a file and folder: room for one model of four files, not for a second."""
    url = str(tiny_disk)
    subprocess.run(["mount", "-o", "remount,size=64k", url], check=True)
    first = deploy(url, ONE)
    used = 4096 * sum(-(-path.stat().st_size // 4096) for path in tiny_disk.rglob("*"))
    subprocess.run(["mount", "-o", f"remount,size={used + 8192}", url], check=True)
    with pytest.raises(Unreachable, match=r"no space left.*Free some space, then try again"):
        deploy(url, TWO, 2)
    assert model_store.read_pointer(url, "production") == first
    with pytest.raises(Unreachable, match="no space left"):
        model_store.fetch_model(url, first.model, tiny_disk / "fetched")
    assert not list(tiny_disk.glob("fetched*"))
    assert not list(tiny_disk.rglob("*.partial"))
    subprocess.run(["mount", "-o", "remount,size=1m", url], check=True)
    assert model_store.read_pointer(url, "production") != deploy(url, TWO, 2)


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json", "production.json"])
def test_no_space_for_any_file_is_reported(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, replace = str(tmp_path), os.replace
    first = deploy(url, ONE)

    def full(source: Path, target: Path) -> None:
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(Unreachable, match="no space left"):
        deploy(url, TWO, 2)
    assert model_store.read_pointer(url, "production") == first
    monkeypatch.undo()
    deploy(url, TWO, 2)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unreachable, match=r"file/store.*Not a directory"):
        model_store.put_model(str(tmp_path / "file" / "store"), ONE, "the model")
