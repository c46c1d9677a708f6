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
