"""Many images to a table: complete, the same for any number of workers, and never a row twice."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from digits.core.errors import InputError, Unreachable
from digits.evaluation import metrics
from digits.model.classifier import Classifier
from digits.storage import filesystem, location, model_store
from digits.storage.location import Storage
from ops.predict import __main__, executors
from ops.tools import inputs, models
from ops.tools.models import Release
from tests.helpers import deployments, tiny_models, warm_python
from tests.helpers.small import ROOT
from tests.helpers.wait import until
from tests.ops.tools.test_inputs import IMAGES, npy, parquet, png, write

pytestmark = pytest.mark.slow(4)

MODEL = tiny_models.model(1)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images, and the model where dvc repro leaves it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIGITS_COMPUTE_WORKERS", "1")
    monkeypatch.setattr(inputs, "ROWS", 4)
    write("models/digit-classifier", {name: MODEL[name] for name in model_store.MODEL_FILES})
    write("scans", {"a.png": png(IMAGES[0]), "b.png": b"hello", "some.npy": npy(IMAGES)})
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["predict", *words])
    __main__.main()


def rows(path: str | Path = "out.parquet") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


def test_each_image_has_a_row_with_what_the_model_says(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "scans", "out.parquet", "--threshold", "1")
    found = rows()
    model = Classifier.load("models/digit-classifier")
    expected = metrics.softmax(model.logits(np.concatenate([IMAGES[:1], IMAGES])))
    right = [row for row in found if row["error"] is None]
    assert [row["path"] for row in found] == [
        "scans/a.png",
        "scans/b.png",
        *(f"scans/some.npy#{i}" for i in range(25)),
    ]
    given = np.array([[row[f"p{i}"] for i in range(10)] for row in right])
    np.testing.assert_allclose(given, expected, atol=1e-6)
    assert [row["predicted"] for row in right] == [str(i) for i in expected.argmax(axis=1)]
    np.testing.assert_allclose([row["confidence"] for row in right], expected.max(axis=1), 1e-6)
    assert [row["review"] for row in right] == [row["confidence"] < 1 for row in right]
    bad = found[1]
    assert "5 bytes of something else" in bad.pop("error")
    assert (bad.pop("path"), bad.pop("review")) == ("scans/b.png", False)
    assert set(bad.values()) == {None}
    review = sum(row["review"] for row in right)
    said = capsys.readouterr().out
    assert f"27 images by model {model.id[:12]}: 1 with an error, {review} for review" in said
    assert "the column `error` says what is wrong" in said
    assert "\n  some.npy: " in said  # once, in whatever number of parts


def test_the_manifest_says_which_model_saw_what(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "scans", "out.parquet")
    manifest = json.loads(Path("out.parquet.manifest.json").read_text())
    assert manifest["plan"]["run"]["model"] == tiny_models.digest(MODEL["model.json"])
    assert manifest["plan"]["rows"] == 27
    assert manifest["errors"] == 1
    assert manifest["sha256"] == tiny_models.digest(Path("out.parquet").read_bytes())
    assert (
        pq.read_schema("out.parquet").metadata[b"model"].decode()
        == (manifest["plan"]["run"]["model"])
    )
    assert sorted(os.listdir()) == ["models", "out.parquet", "out.parquet.manifest.json", "scans"]
    capsys.readouterr()
    run(monkeypatch, "scans", "out.parquet", "--json")  # it was done already
    assert json.loads(capsys.readouterr().out) == manifest


def test_the_output_may_be_beside_an_input_that_is_one_file(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, "scans/some.npy", "scans/out.parquet")
    expected = [f"scans/some.npy#{i}" for i in range(25)]
    assert [row["path"] for row in rows("scans/out.parquet")] == expected


def test_csv_has_the_rows_of_parquet(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "scans", "out.parquet")
    run(monkeypatch, "scans", "out.csv")
    options = pyarrow.csv.ConvertOptions(
        column_types=pq.read_schema("out.parquet"), strings_can_be_null=True
    )
    assert pyarrow.csv.read_csv("out.csv", convert_options=options).to_pylist() == rows()


class Killed(BaseException):
    pass


def die_after(parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the run end, as by a power cut, when so many parts are computed."""
    done: list[object] = []
    original = executors.Task.run

    def task_run(self: executors.Task, chunk: inputs.Chunk) -> bytes:
        if len(done) == parts:
            raise Killed
        done.append(chunk)
        return original(self, chunk)

    monkeypatch.setattr(executors.Task, "run", task_run)


def test_wherever_it_is_ended_the_same_command_completes_it(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, "scans", "whole.parquet")
    for _ in range(2):
        with monkeypatch.context() as patch:
            die_after(3, patch)
            with pytest.raises(Killed):
                run(patch, "scans", "out.parquet")
        assert not Path("out.parquet").exists()
    assert len(list(Path("out.parquet.parts").glob("*.arrow"))) == 6
    write("scans", {"new.png": png(IMAGES[3])})  # was not there when the run began
    run(monkeypatch, "scans", "out.parquet")
    assert Path("out.parquet").read_bytes() == Path("whole.parquet").read_bytes()
    assert not Path("out.parquet.parts").exists()


@pytest.mark.parametrize("step", ["put", "discard"])
def test_ended_while_it_writes_the_output_it_is_completed(
    step: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, "scans", "whole.parquet")
    original = getattr(filesystem, step)

    def die(storage: location.Storage, name: str, *words: Any) -> None:
        if name.endswith(".jsonl") or not filesystem.entries(storage):
            return original(storage, name, *words)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(filesystem, step, die)
        with pytest.raises(Killed):
            run(patch, "scans", "out.parquet")
    run(monkeypatch, "scans", "out.parquet")
    assert Path("out.parquet").read_bytes() == Path("whole.parquet").read_bytes()
    assert not Path("out.parquet.parts").exists()


def test_parts_without_a_plan_enter_no_output(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        die_after(3, patch)
        with pytest.raises(Killed):
            run(patch, "scans", "out.parquet")
    Path("out.parquet.parts/plan.json").unlink()  # the first to go when a run is cleared away
    write("scans", {"some.npy": npy(IMAGES[::-1])})
    run(monkeypatch, "scans", "out.parquet")
    run(monkeypatch, "scans", "whole.parquet")
    assert Path("out.parquet").read_bytes() == Path("whole.parquet").read_bytes()
    write("out.parquet.parts", {"00000000.arrow": b"left"})
    run(monkeypatch, "scans", "out.parquet")
    assert not Path("out.parquet.parts").exists()


def test_from_another_folder_it_is_another_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        die_after(2, patch)
        with pytest.raises(Killed):
            run(patch, "scans", f"{here}/out.parquet")
    write("other/scans", {"b.png": png(IMAGES[3])})
    monkeypatch.chdir("other")
    words = ("scans", f"{here}/out.parquet", "--model", f"{here}/models/digit-classifier")
    with pytest.raises(__main__.InputError, match=rf"source {here}/scans, not {here}/other/scans"):
        run(monkeypatch, *words)


def test_files_that_have_changed_are_not_taken_as_read(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, "scans", "out.parquet")
    write("scans", {"b.png": png(IMAGES[0])})  # it had an error
    with pytest.raises(__main__.InputError, match="exists, from another run"):
        run(monkeypatch, "scans", "out.parquet")


def test_a_name_that_is_no_utf_8_is_escaped(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = os.fsdecode(b"caf\xe9")
    write(folder, {f"{folder}.png": png(IMAGES[0])})
    Path(folder, "loop.npy").symlink_to("loop.npy")  # its error has the path in it
    run(monkeypatch, folder, "out.csv")
    run(monkeypatch, folder, "out.parquet")
    first, second = rows()
    assert (first["path"], first["error"]) == (r"caf\udce9/caf\udce9.png", None)
    assert r"caf\udce9/loop.npy: [Errno" in second["error"]


def test_the_parts_of_another_run_are_not_taken(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        die_after(2, patch)
        with pytest.raises(Killed):
            run(patch, "scans", "out.parquet")
    with pytest.raises(__main__.InputError, match=r"another run \(threshold 0\.9, not 0\.5\)"):
        run(monkeypatch, "scans", "out.parquet", "--threshold", "0.5")


def test_a_damaged_file_of_an_earlier_run_is_named_with_the_way_out(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, "scans", "out.csv")
    write(".", {"out.csv.manifest.json": b'{"plan": '})
    with pytest.raises(InputError, match=r"out\.csv\.manifest\.json is damaged.* Remove it"):
        run(monkeypatch, "scans", "out.csv")
    write("out.csv.parts", {"plan.json": b'{"rows": 27}'})
    with pytest.raises(InputError, match=r"out\.csv\.parts/plan\.json is damaged.* Remove it"):
        run(monkeypatch, "scans", "out.csv")


def test_an_output_is_never_replaced_by_that_of_another_run(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "scans", "out.parquet")
    before = Path("out.parquet").read_bytes()
    first = capsys.readouterr().out
    run(monkeypatch, "scans", "out.parquet")
    assert capsys.readouterr().out == first  # it was done, and is told again
    write("scans", {"new.png": png(IMAGES[3])})
    with pytest.raises(__main__.InputError, match="exists, from another run"):
        run(monkeypatch, "scans", "out.parquet")
    assert Path("out.parquet").read_bytes() == before
    Path("mine.csv").write_text("precious")
    with pytest.raises(__main__.InputError, match="exists, and is no output of this command"):
        run(monkeypatch, "scans", "mine.csv")


def test_the_number_of_workers_changes_no_byte(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "scans", "one.parquet")
    monkeypatch.setenv("DIGITS_COMPUTE_WORKERS", "2")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    run(monkeypatch, "scans", "two.parquet")
    assert Path("one.parquet").read_bytes() == Path("two.parquet").read_bytes()


def test_a_deployment_is_followed_from_bucket_to_bucket(
    bucket: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployments.deploy(f"{bucket}/models", MODEL, 3)
    write(f"{bucket}/in", {"a.png": png(IMAGES[0]), "some.npy": npy(IMAGES)})
    run(monkeypatch, f"{bucket}/in", f"{bucket}/out/all.parquet", "--model", f"{bucket}/models")
    run(monkeypatch, "scans", "local.parquet")
    place = location.find(f"{bucket}/out")
    assert set(filesystem.entries(place)) == {"all.parquet", "all.parquet.manifest.json"}
    Path("found.parquet").write_bytes(filesystem.read(place, "all.parquet") or b"")
    found, local = rows("found.parquet"), rows("local.parquet")
    assert [row["path"] for row in found[1:]] == [f"{bucket}/in/some.npy#{i}" for i in range(25)]
    assert [row["p3"] for row in found[1:]] == [row["p3"] for row in local[2:]]
    manifest = json.loads(filesystem.read(place, "all.parquet.manifest.json") or b"")
    assert manifest["version"] == "v1.3.0"


def test_the_model_that_holds_a_stage_in_git(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = Release("c" * 40, "digit-classifier#staging#1", "v1.1.0")
    monkeypatch.setattr(models, "find_release", {"staging": release}.get)
    monkeypatch.setattr(models, "bring_release", {release: tiny_models.model(2)}.get)
    run(monkeypatch, "scans/a.png", "out.parquet", "--model", "staging")
    manifest = json.loads(Path("out.parquet.manifest.json").read_text())
    assert manifest["version"] == "v1.1.0"
    assert manifest["plan"]["run"]["model"] == tiny_models.digest(
        tiny_models.model(2)["model.json"]
    )


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Twelve hours ahead of UTC."""
    monkeypatch.setenv("TZ", "XXX-12")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("failing", ["chunks.jsonl", "out.parquet", "out.parquet.manifest.json"])
def test_a_run_that_could_not_write_is_completed_by_the_next(
    here: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    put = filesystem.put

    def put_or_fail(storage: Storage, name: str, file: Path) -> None:
        if name == failing:
            raise Unreachable("no space left")
        put(storage, name, file)

    with monkeypatch.context() as full, pytest.raises(Unreachable):  # noqa: PT012
        full.setattr(filesystem, "put", put_or_fail)
        run(full, "scans", "out.parquet")
    # Without the list there is no plan; with the plan, the parts stay until all is written.
    assert Path("out.parquet.parts/plan.json").exists() == (failing != "chunks.jsonl")
    assert Path("out.parquet.parts/00000000.arrow").exists() == (failing != "chunks.jsonl")
    run(monkeypatch, "scans", "out.parquet")
    assert rows()
    assert not Path("out.parquet.parts").exists()


@pytest.mark.usefixtures("far_east")
def test_only_what_was_written_on_a_day(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    day = 1764028800.0  # 2025-11-25, 0:00 UTC
    os.utime("scans/a.png", (day, day + 60))
    os.utime("scans/b.png", (day, day - 60))
    run(monkeypatch, "scans", "out.parquet", "--written", "2025-11-25")
    assert [row["path"] for row in rows()] == ["scans/a.png"]
    run(monkeypatch, "scans", "none.parquet", "--written", "2001-01-01")
    assert rows("none.parquet") == []


def test_a_folder_as_found_on_a_disk(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every file is a row, an error's or a prediction's, or passed over and counted."""
    write("elsewhere", {"c.JPG": png(IMAGES[2])})
    write("scans", {"deep/.DS_Store": b"x", "__MACOSX/a.png": b"x", "Icon\r": b"x", "d.png": b""})
    Path("scans/link").symlink_to("../elsewhere")
    Path("scans/deep/cycle").symlink_to("..")
    Path("scans/zero.png").symlink_to("/dev/zero")
    os.truncate("scans/d.png", 5 << 30)
    os.mkfifo("scans/pipe.png")
    run(monkeypatch, "scans", "out.parquet")
    found = {row["path"]: row["error"] for row in rows() if "#" not in row["path"]}
    assert list(found) == [
        f"scans/{name}"
        for name in ("a.png", "b.png", "d.png", "pipe.png", "zero.png", "link/c.JPG")
    ]
    assert found["scans/a.png"] is found["scans/link/c.JPG"] is None
    assert found["scans/d.png"].startswith("the image has 5,368,709,120 bytes; expected at most")
    for name in ("pipe", "zero"):
        assert found[f"scans/{name}.png"] == "this is not a file but a pipe, a socket or a device"
    assert "passed over, hidden or the operating system's (5): scans/.lock, scans/Icon\\r, " in (
        capsys.readouterr().err
    )
    run(monkeypatch, "scans/*.png", "out.csv")
    assert "passed over" not in capsys.readouterr().err
    with pytest.raises(__main__.InputError, match=r"pipe\.png is a pipe, a socket or a device"):
        run(monkeypatch, "scans/pipe.png", "other.csv")


def test_an_empty_folder_is_an_error(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("nothing").mkdir()
    with pytest.raises(__main__.InputError, match="nothing holds no images"):
        run(monkeypatch, "nothing", "out.csv")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("b.png", b"hello", "not an image but 5 bytes of something else"),
        ("b.png", png(IMAGES[0])[:60], "the image is truncated"),
        ("b.npy", b"hello", "the file is not a NumPy array"),
        ("b.parquet", b"hello", "the file is not a Parquet file"),
        (
            "b.parquet",
            parquet(image=[b"hello"] * 9),
            "none of its 9 images can be read. The fi",
        ),
    ],
)
def test_a_named_file_that_cannot_be_read_at_all_is_an_error(
    name: str, content: bytes, reason: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("scans", {name: content})
    for _ in range(2):  # the parts of the first run are not the second one's answer
        with pytest.raises(__main__.InputError, match=rf"^scans/{name}: .*{reason}") as refusal:
            run(monkeypatch, f"scans/{name}", "out.csv")
        assert "out.csv was not written. Correct the file" in str(refusal.value)
        assert not list(here.glob("out.csv*"))
    write("scans", {name: content + b"?"})
    run(monkeypatch, "scans", "out.csv")
    assert Path("out.csv").exists()


def test_a_named_file_with_one_image_that_can_be_read_is_none(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images: list[bytes | None] = [b"hello"] * 9
    images[7] = png(IMAGES[0])
    write("scans", {"some.parquet": parquet(image=images)})
    run(monkeypatch, "scans/some.parquet", "out.parquet")
    assert [row["error"] is None for row in rows()] == [i == 7 for i in range(9)]


def test_the_output_is_not_put_among_the_input(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(__main__.InputError, match="is in scans, which is the input"):
        run(monkeypatch, "scans", "scans/deep/out.csv")
    run(monkeypatch, "scans/*.png", "scans/out.csv")


@pytest.mark.slow(10)
def test_killed_outright_it_leaves_no_process_and_goes_on(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 in the middle of the work of two processes."""
    many = np.random.default_rng(1).integers(0, 256, (160_000, 8, 8), dtype=np.uint8)
    np.save("many.npy", many)
    words = [sys.executable, "-m", "ops.predict", "many.npy", "out.parquet"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DIGITS_COMPUTE_WORKERS": "2"}
    with subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 300
        while not list(Path("out.parquet.parts").glob("*.arrow")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert not Path("out.parquet").exists()
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = pq.read_table("out.parquet", columns=["path"])
    assert table["path"].to_pylist() == [f"many.npy#{i}" for i in range(len(many))]


@pytest.mark.slow(5)
def test_interrupted_while_its_workers_start_it_says_only_that(here: Path) -> None:
    np.save("many.npy", np.zeros((40_000, 8, 8), np.uint8))
    process = subprocess.Popen(
        [sys.executable, "-m", "ops.predict", "many.npy", "out.parquet"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "DIGITS_COMPUTE_WORKERS": "2"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    started = psutil.Process(process.pid)
    until(lambda: any("spawn_main" in " ".join(p.cmdline()) for p in started.children()))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "interrupted"
    assert "Traceback" not in said


def test_an_interrupt_waits_even_if_another_thread_receives_it() -> None:
    reached = threading.Event()
    other = threading.Thread(target=reached.wait)

    def interrupted_inside() -> None:
        with executors._interrupts_held():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
            reached.set()

    other.start()
    with pytest.raises(KeyboardInterrupt):
        interrupted_inside()
    waited = reached.is_set()
    reached.set()
    other.join()
    assert waited
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow(10)
def test_what_is_wrong_is_said_without_a_traceback(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*words: str) -> str:
        found = subprocess.run(
            [warm_python.python(), "-m", "ops.predict", *words],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert found.returncode == 2
        assert "Traceback" not in found.stderr
        return found.stderr

    monkeypatch.setenv("RAY_ADDRESS", "http://head:6379")
    assert (
        "Ray's address is 'http://head:6379'; expected HOST:PORT, ray://HOST:PORT or auto"
        in fails("scans", "out.csv", "--engine", "ray")
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL", "minio:9000")
    assert "AWS_ENDPOINT_URL is 'minio:9000'; expected http://HOST:PORT" in fails(
        "s3://bucket/scans", "out.csv"
    )
    assert "'s3:/out.csv' cannot be used; expected a folder or s3://" in fails(
        "scans", "s3:/out.csv"
    )
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert "no Ray cluster answers at 127.0.0.1:1" in fails("scans", "out.csv", "--engine", "ray")
    assert "nowhere does not exist" in fails("nowhere", "out.csv")
    assert "scans/b.png: this is not an image" in fails("scans/b.png", "b.csv")
    assert "expected a name that ends with .parquet or .csv" in fails("scans", "out.txt")
    assert "scans holds no model: neither model.json" in fails(
        "scans", "out.csv", "--model", "scans"
    )
