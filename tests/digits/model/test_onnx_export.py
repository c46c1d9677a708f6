"""From weights to the folder that is served, and back through the one inference path."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from digits.core.errors import InputError
from digits.data import dataset
from digits.data.dataset import Labelled
from digits.model import classifier, onnx_export
from digits.model.classifier import Classifier
from digits.model.network import Network
from tests.digits.model.test_network import network


@dataclass(frozen=True)
class Exported:
    network: Network
    content: bytes
    test: Labelled
    folder: Path


@pytest.fixture(scope="module")
def exported(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    made = network(hidden=[12], pool_size=2).eval()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 2)  # so that folding matters
    test = dataset.load(prepared, "test")
    content = onnx_export.to_onnx(made)
    folder = tmp_path_factory.mktemp("model")
    onnx_export.compare(made, content, test.images, workers=2)
    onnx_export.write_folder(
        folder, made, content, onnx_export.preprocessing(made, "ink-box"), test
    )
    return Exported(made, content, test, folder)


def test_onnx_runtime_gives_the_logits_of_torch(exported: Exported) -> None:
    with torch.inference_mode():
        expected = exported.network(torch.from_numpy(exported.test.images).float()).numpy()
    found = Classifier.load(exported.folder).logits(exported.test.images)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_number_of_workers_changes_no_byte(exported: Exported) -> None:
    loaded = Classifier.load(exported.folder)
    images = np.concatenate([exported.test.images] * 3)
    assert loaded.logits(images, 1).tobytes() == loaded.logits(images, 3).tobytes()


@pytest.mark.parametrize(("images", "sizes"), [(64, [64]), (65, [64, 1]), (130, [64, 64, 2])])
def test_images_are_classified_in_batches_of_a_fixed_size(
    exported: Exported, images: int, sizes: list[int]
) -> None:
    """Else the last digits of an answer would depend on how many others are asked for with it."""
    session, found = classifier.session(exported.content), []

    class Counted:
        def run(self, names: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            found.append(len(inputs["images"]))
            return session.run(names, inputs)

    classifier.run(Counted(), np.zeros((images, 28, 28), np.uint8))
    assert found == sizes


@pytest.mark.parametrize("pooling", ["max", "avg"])
@pytest.mark.parametrize("size", [4, 5])
def test_pooling_is_exported(exported: Exported, pooling: str, size: int) -> None:
    made = network(pooling=pooling, pool_size=size).eval()
    onnx_export.compare(made, onnx_export.to_onnx(made), exported.test.images[:50], workers=1)


def test_exporting_again_gives_the_same_bytes(exported: Exported) -> None:
    assert onnx_export.to_onnx(exported.network) == exported.content


def test_the_model_is_one_file_and_tells_no_path(exported: Exported) -> None:
    assert {p.name for p in exported.folder.iterdir()} == {"model.onnx", "golden.npz", "model.json"}
    assert b"/" + str(Path.cwd()).encode().strip(b"/").split(b"/")[0] not in exported.content
    assert b"site-packages" not in exported.content
    assert b".py" not in exported.content
    loaded = onnx.load_from_string(exported.content)
    assert all(t.data_location != onnx.TensorProto.EXTERNAL for t in loaded.graph.initializer)
    onnx.checker.check_model(loaded)


def test_a_disagreement_is_an_error(exported: Exported) -> None:
    other = network(hidden=[12], pool_size=2, pooling="avg").eval()
    with pytest.raises(InputError, match=r"disagree on \d+ of 20 predictions; .* at most 1e-04"):
        onnx_export.compare(other, exported.content, exported.test.images[:20], workers=1)


def test_a_network_that_cannot_decide_is_told_from_a_wrong_export(exported: Exported) -> None:
    one, other = network().eval(), network().eval()
    for undecided, order in ((one, [0, 1]), (other, [1, 0])):
        torch.nn.init.zeros_(undecided.members[0][-1].weight)
        bias = torch.zeros(10)
        bias[order] = torch.tensor([1.0, 1.0 + 1e-6])
        undecided.members[0][-1].bias.data = bias
    with pytest.raises(InputError, match=r"disagree on 20 of 20 .* has learnt too little"):
        onnx_export.compare(one, onnx_export.to_onnx(other), exported.test.images[:20], workers=1)


def test_golden_images_hold_each_class_with_its_logits(exported: Exported) -> None:
    golden = np.load(exported.folder / "golden.npz")
    assert golden["images"].shape == (30, 28, 28)
    loaded = Classifier.load(exported.folder)
    np.testing.assert_allclose(loaded.logits(golden["images"]), golden["logits"], atol=1e-5)
    # Those of torch, which are the same on any processor.
    expected = onnx_export.torch_logits(exported.network, golden["images"], threads=1)
    np.testing.assert_array_equal(golden["logits"], expected)


def test_the_description_names_files_by_digest_and_is_the_id(exported: Exported) -> None:
    content = (exported.folder / "model.json").read_bytes()
    description = json.loads(content)
    for name, digest in description["files"].items():
        assert hashlib.sha256((exported.folder / name).read_bytes()).hexdigest() == digest
    loaded = Classifier.load(exported.folder)
    assert loaded.id == hashlib.sha256(content).hexdigest()
    assert loaded.classes == tuple("0123456789")
    assert loaded.preprocessing.normalisation.mean == 33
    assert loaded.preprocessing.normalisation.std == 79
    assert loaded.parameters == sum(p.numel() for p in exported.network.parameters())


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz"])
def test_a_changed_byte_is_refused(exported: Exported, tmp_path: Path, name: str) -> None:
    for path in exported.folder.iterdir():
        content = bytearray(path.read_bytes())
        if path.name == name:
            content[len(content) // 2] ^= 1
        (tmp_path / path.name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: sha256 .*; model\.json says"):
        Classifier.load(tmp_path)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.json does not exist"):
        Classifier.load(tmp_path)
    (tmp_path / "model.json").write_text("[]")
    with pytest.raises(InputError, match=r"model\.json describes no model"):
        Classifier.load(tmp_path)


def test_images_of_another_form_are_refused(exported: Exported) -> None:
    loaded = Classifier.load(exported.folder)
    for images in (np.zeros((2, 28, 28), np.float32), np.zeros((2, 14, 28), np.uint8)):
        with pytest.raises(InputError, match=r"expected uint8 \(n, 28, 28\)"):
            loaded.logits(images)
