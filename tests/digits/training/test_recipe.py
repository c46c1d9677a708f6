import pytest
import torch

from digits.core import params
from digits.core.errors import InputError
from digits.core.params import override
from digits.training.recipe import Recipe, resolve
from tests.helpers.small import ROOT


def test_a_device_that_is_not_there_is_refused_and_auto_takes_one_that_is() -> None:
    document = override(params.read_yaml(ROOT / "params.yaml"), {"train.device": "auto"})
    recipe = Recipe.parse(document["train"])
    assert resolve(recipe).device in ("cpu", "cuda", "mps")
    if not torch.cuda.is_available():
        absent = recipe.model_copy(update={"device": "cuda"})
        with pytest.raises(InputError, match=r"train\.device is 'cuda', .* one of: cpu"):
            resolve(absent)


@pytest.mark.parametrize(
    ("device", "has_bfloat16", "expected"),
    [("cpu", True, "float32"), ("cuda", False, "float32"), ("cuda", True, "bfloat16")],
)
def test_half_precision_is_for_a_gpu_that_computes_it_itself(
    monkeypatch: pytest.MonkeyPatch, device: str, has_bfloat16: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bfloat16)
    changes = {"train.device": device, "train.precision": "auto"}
    document = override(params.read_yaml(ROOT / "params.yaml"), changes)
    assert resolve(Recipe.parse(document["train"])).precision == expected
