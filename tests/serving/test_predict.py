"""POST /predict: what it answers, and how it refuses."""

import base64
import io
import json
import struct
import zlib
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from openapi_spec_validator import validate
from PIL import Image
from starlette.datastructures import Headers

from digits.evaluation import metrics
from digits.imaging import model_form
from digits.imaging.decoding import TooManyPixels
from digits.model.classifier import Classifier
from serving import decode
from serving.worker_pool import SMALL_BYTES
from tests.helpers.servers import Answer, Server, form, image_file

RANDOM = np.random.default_rng(0)
PICTURE = RANDOM.integers(0, 256, (40, 40), np.uint8)
FILE = image_file(PICTURE)
ROWS = RANDOM.integers(0, 256, (8, 8)).tolist()


def expected(classifier: Classifier, found: np.ndarray) -> list[list[float]]:
    rounded: list[list[float]] = metrics.softmax(classifier.logits(found)).round(6).tolist()
    return rounded


def probabilities(answer: Answer) -> list[list[float]]:
    assert answer.status == 200, answer.body
    return [list(each["probabilities"].values()) for each in answer.json["predictions"]]


@pytest.mark.parametrize(
    "kind", [None, "image/png", "application/octet-stream", "application/x-www-form-urlencoded"]
)
def test_a_file_gets_what_the_library_says(
    server: Server, classifier: Classifier, kind: str | None
) -> None:
    answer = server.ask("/predict", FILE, kind)
    read = model_form.read(FILE, classifier.preprocessing)
    assert probabilities(answer) == expected(classifier, read[None])
    [prediction] = answer.json["predictions"]
    assert list(prediction["probabilities"]) == list(classifier.classes)
    assert prediction["confidence"] == max(prediction["probabilities"].values())
    assert prediction["probabilities"][prediction["predicted"]] == prediction["confidence"]
    assert answer.json["model"] == classifier.id
    assert answer.json["version"] == classifier.id[:12]


def test_several_files_are_answered_in_their_order(server: Server, classifier: Classifier) -> None:
    files = {f"{i}.png": image_file(RANDOM.integers(0, 256, (20, 20), np.uint8)) for i in range(5)}
    read = [model_form.read(content, classifier.preprocessing) for content in files.values()]
    answer = server.ask("/predict", *form(files))
    assert probabilities(answer) == expected(classifier, np.stack(read))


def test_a_form_with_text_and_an_unused_file_field_is_answered(server: Server) -> None:
    body, kind = form({"a.png": FILE})
    field = b'--frontier\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n'
    text = field % (b"note", b"", b"a seven, perhaps")
    large = field % (b"image", b"", b"x" * 2_000_000)
    unused = field % (b"other", b'; filename=""', b"")
    answer = server.ask("/predict", text + unused + large + body, kind)
    assert answer.body == server.ask("/predict", FILE).body
    check_problem(server.ask("/predict", text + unused + b"--frontier--\r\n", kind), 422)


def test_pixels_are_answered_as_they_are(server: Server, classifier: Classifier) -> None:
    many = RANDOM.integers(0, 256, (3, 8, 8), np.uint8)
    answer = server.ask("/predict", {"images": many.tolist()})
    assert probabilities(answer) == expected(classifier, many)


BASE64 = base64.b64encode(FILE).decode()
TEXTS = (
    BASE64,
    f"data:image/png;base64,{BASE64}",
    f"DATA:;charset=x;BASE64,{quote(BASE64)}",
    base64.encodebytes(FILE).decode(),  # with line breaks
    base64.urlsafe_b64encode(FILE).decode().rstrip("="),
)


@pytest.mark.parametrize("text", TEXTS)
def test_a_file_in_base64_is_answered_as_the_file(server: Server, text: str) -> None:
    assert server.ask("/predict", {"image": text}).body == server.ask("/predict", FILE).body


def test_several_files_in_base64_are_answered_in_their_order(server: Server) -> None:
    other = base64.b64encode(image_file(255 - PICTURE.T)).decode()
    found = probabilities(server.ask("/predict", {"images": [BASE64, other]}))
    assert found == [
        probabilities(server.ask("/predict", {"image": text}))[0] for text in (BASE64, other)
    ]


def test_each_bad_file_in_base64_is_named(server: Server) -> None:
    answer = server.ask("/predict", {"images": ["!", BASE64, "c2V2ZW4="]})
    check_problem(answer, 422)
    assert [each["field"] for each in answer.json["errors"]] == ["images[0]", "images[2]"]


def in_json(files: list[bytes]) -> bytes:
    texts = [base64.b64encode(content).decode() for content in files]
    return json.dumps({"images": texts}).encode()


def test_what_may_take_long_is_refused_undecoded_where_time_is_short(
    server: Server, classifier: Classifier
) -> None:
    small = image_file(PICTURE[:8, :8])
    large = image_file(np.zeros((2000, 1000), np.uint8))
    limit = 64
    assert len(large) < SMALL_BYTES  # so that a server tries it at once
    for body, kind in (
        (large, ""),
        (in_json([small, small]), "application/json"),
        (in_json([large]), "application/json"),
    ):
        headers = Headers({"Content-Type": kind})
        with pytest.raises(TooManyPixels):
            decode.decode_images(headers, body, classifier.preprocessing, limit)
        assert server.ask("/predict", body, kind).status == 200
    assert len(decode.decode_images(Headers(), small, classifier.preprocessing, limit)) == 1


def test_what_the_model_saw_is_told_if_asked_for(server: Server, classifier: Classifier) -> None:
    [found] = server.ask("/predict?input=true", FILE).json["predictions"]
    assert found["input"] == model_form.read(FILE, classifier.preprocessing).tolist()
    [found] = server.ask("/predict", FILE).json["predictions"]
    assert "input" not in found


def test_sagemaker_is_answered_the_same(server: Server) -> None:
    assert server.ask("/ping").status == 200
    for body in (FILE, {"images": [ROWS]}):
        assert server.ask("/invocations", body).json == server.ask("/predict", body).json


NESTED = b"[" * 100_000
BAD_JSON: dict[str, tuple[bytes, int, str | None]] = {
    "no JSON": (b"{", 400, None),
    "nothing": (b"", 400, None),
    "not UTF-8": (b'{"images": "\xff"}', 400, None),
    "deep nesting": (b'{"images": ' + NESTED, 400, None),
    "a list": (b"[]", 422, "body"),
    "another key": (b'{"digit": []}', 422, "images"),
    "a file that is no text": (b'{"image": []}', 422, "image"),
    "a file in the wrong alphabet": (b'{"image": "!"}', 422, "image"),
    "a file in no alphabet": ('{"image": "\u00fc"}'.encode(), 422, "image"),
    "a data URL without base64": (b'{"image": "data:image/png,x"}', 422, "image"),
    "a file that is no image": (b'{"image": "c2V2ZW4="}', 422, "image"),
    "no file": (b'{"image": ""}', 422, "image"),
    "a file and pixels": (json.dumps({"image": "", "images": [ROWS]}).encode(), 422, "images"),
    "a file and files": (b'{"image": "", "images": [""]}', 422, "image"),
    "files and pixels": (json.dumps({"images": ["", ROWS]}).encode(), 422, "images[1]"),
    "too many files": (json.dumps({"images": [""] * (decode.FILES + 1)}).encode(), 422, "images"),
    "no image": (b'{"images": []}', 422, "images"),
    "one image, unlisted": (json.dumps({"images": ROWS}).encode(), 422, "images[0][0]"),
    "a missing row": (json.dumps({"images": [ROWS, ROWS[:7]]}).encode(), 422, "images[1]"),
    "a longer row": (json.dumps({"images": [[*ROWS[:7], [0] * 9]]}).encode(), 422, "images[0][7]"),
    "a fraction": (b'{"images": [[[0.5]]]}', 422, "images[0][0][0]"),
    "a text": (b'{"images": [[["1"]]]}', 422, "images[0][0][0]"),
    "true": (b'{"images": [[[true]]]}', 422, "images[0][0][0]"),
    "NaN": (b'{"images": [[[0, NaN]]]}', 422, "images[0][0][1]"),
    "infinity": (b'{"images": [[[1e999]]]}', 422, "images[0][0][0]"),
    "256": (b'{"images": [[[256]]]}', 422, "images[0][0][0]"),
    "-1": (b'{"images": [[[-1]]]}', 422, "images[0][0][0]"),
    "a huge number": (b'{"images": [[[' + b"9" * 100_000 + b"]]]}", 400, None),
    "a million errors": (
        b'{"images": [[[' + b"256," * 1_000_000 + b"1]]]}",
        422,
        "images[0][0][0]",
    ),
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_json_of_another_form_is_refused_by_field(server: Server, name: str) -> None:
    body, status, field = BAD_JSON[name]
    answer = server.ask("/predict", body, "application/json")
    check_problem(answer, status)
    assert [each["field"] for each in answer.json.get("errors", [])] == ([field] if field else [])


def check_problem(answer: Answer, status: int) -> None:
    """Problem details by RFC 9457 that tell nothing about the server."""
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["status"] == status
    assert answer.json["title"]
    assert answer.json["detail"]
    for secret in (b"Traceback", b".py", str(Path.cwd()).encode(), b"/tmp"):
        assert secret not in answer.body


def test_each_bad_file_of_a_form_is_named(server: Server) -> None:
    answer = server.ask("/predict", *form({"a": FILE, "b": b"text", "c": FILE, "d": b""}))
    check_problem(answer, 422)
    assert [each["field"] for each in answer.json["errors"]] == ["image[1]", "image[3]"]
    answer = server.ask("/predict", *form({f"{i}": b"text" for i in range(12)}))
    check_problem(answer, 422)
    assert len(answer.json["errors"]) == 10
    assert answer.json["detail"].endswith("; the first 10 of 12 errors are listed")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/form-data"),
        (b"--x", "multipart/form-data; boundary=frontier"),
        (form({str(i): FILE for i in range(decode.FILES + 1)})),
        (form({})),
    ],
)
def test_a_form_without_files_or_with_too_many_is_refused(
    server: Server, body: bytes, kind: str
) -> None:
    answer = server.ask("/predict", body, kind)
    check_problem(answer, answer.status)
    assert answer.status in (400, 422)


@pytest.mark.parametrize("cut", [len("--\r\n"), len("--frontier--\r\n"), 100])
def test_a_form_that_is_cut_off_is_refused(server: Server, cut: int) -> None:
    body, kind = form({"a": FILE, "b": FILE})
    answer = server.ask("/predict", body[:-cut], kind)
    check_problem(answer, 400)
    assert "its end is missing" in answer.json["detail"]
    assert server.ask("/predict", body.removesuffix(b"\r\n"), kind).status == 200


@pytest.mark.parametrize("name", ["undefined", "punycode", "x" * 50_000])
def test_a_form_in_an_unusual_charset_is_refused(server: Server, name: str) -> None:
    body, kind = form({"a": FILE})
    answer = server.ask("/predict", body, f"{kind}; charset={name}")
    check_problem(answer, 400)
    assert "Leave it out" in answer.json["detail"]
    assert server.ask("/predict", body, f"{kind}; Charset=UTF-8").status == 200


def odd_images() -> dict[str, tuple[bytes, bool | None]]:
    """Files, and whether they are images of something; None: either."""
    one = np.zeros((1, 1), np.uint8)
    wide = np.zeros((4, 10_000), np.uint8)
    wide[1:3, 100:9_000] = 200
    deep = RANDOM.integers(0, 65_536, (40, 40), np.uint16)
    return {
        "one pixel": (image_file(one), None),
        "10,000 pixels wide": (image_file(wide), True),
        "10,000 pixels high": (image_file(wide.T.copy()), True),
        "16 bits": (image_file(deep), True),
        "CMYK": (image_file(PICTURE, "JPEG", "CMYK"), True),
        "animated": (
            image_file(
                PICTURE, "GIF", save_all=True, append_images=[Image.fromarray(255 - PICTURE)]
            ),
            True,
        ),
        "truncated": (FILE[:-200], False),
        "header alone": (FILE[:20], False),
        "empty": (b"", False),
        "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0"/></svg>', False),
        "text": (b"seven", False),
        "noise": (RANDOM.bytes(10_000), False),
        "executable": (b"\x7fELF" + bytes(100), False),
    }


ODD = odd_images()


@pytest.mark.parametrize("name", ODD)
def test_an_odd_image_is_answered_or_refused_with_a_reason(server: Server, name: str) -> None:
    content, is_image = ODD[name]
    answer = server.ask("/predict", content, "image/png")
    if is_image is not None:
        assert (answer.status == 200) == is_image, answer.body
    if answer.status != 200:
        check_problem(answer, 422)
        assert answer.json["errors"][0]["field"] == "body"


def test_a_decompression_bomb_is_refused_unopened(server: Server) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10**6)))
    )
    before = server.metrics()["process_resident_memory_bytes"]
    answer = server.ask("/predict", bomb)
    check_problem(answer, 422)
    assert "100,000 x 100,000" in answer.json["detail"]
    assert server.metrics()["process_resident_memory_bytes"] < before + 100e6


def test_many_images_that_are_small_files_of_many_pixels_are_refused_undecoded(
    server: Server,
) -> None:
    content = io.BytesIO()
    Image.new("1", (8000, 8000)).save(content, "PNG")
    body, kind = form({f"{i}.png": content.getvalue() for i in range(5)})
    answer = server.ask("/predict", body, kind)
    check_problem(answer, 413)
    assert (
        "The images have 320,000,000 pixels together; expected at most 268,435,456"
        in (answer.json["detail"])
    )


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("/nothing", None, 404), ("/predict", None, 405), ("/livez", FILE, 405)],
)
def test_other_errors_are_problem_details_too(
    server: Server, path: str, body: bytes | None, status: int
) -> None:
    check_problem(server.ask(path, body), status)


PAGES = (
    "/",
    "/version",
    "/livez",
    "/readyz",
    "/ping",
    "/metrics",
    "/openapi.json",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/digit-classifier",
    "/v2/models/digit-classifier/ready",
    "/v2/models/other",
    "/nothing",
    "/predict",
)


@pytest.mark.parametrize("path", PAGES)
def test_head_is_answered_as_get_without_a_body(server: Server, path: str) -> None:
    connection = server.connect()
    answers = []
    for method in ("GET", "HEAD", "GET"):  # on one connection, which a body would confuse
        connection.request(method, path)
        response = connection.getresponse()
        headers = {name: value for name, value in response.getheaders() if name != "date"}
        answers.append((response.status, headers, response.read()))
    connection.close()
    if path == "/metrics":  # the numbers change
        for _, headers, _ in answers:
            del headers["content-length"]
    get, head, again = answers
    assert head == (*get[:2], b"")
    assert again[:2] == get[:2]


def test_the_documentation_is_valid_and_its_examples_have_the_stated_form(
    server: Server, classifier: Classifier
) -> None:
    document = server.ask("/openapi.json").json
    validate(document)
    operation = document["paths"]["/predict"]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    preprocessing = classifier.preprocessing.model_copy(update={"size": (28, 28)})
    for example in examples.values():
        content = json.dumps(example["value"]).encode()
        kind = Headers({"Content-Type": "application/json"})
        assert decode.decode_images(kind, content, preprocessing).shape == (1, 28, 28)
    for text in ("curl", "multipart/form-data", "429"):
        assert text in json.dumps(operation)
    assert server.ask("/docs").status == 404  # it would load its parts from elsewhere
