from collections.abc import Callable
from typing import Any

import pytest
import torch

from digits.core.errors import InputError
from digits.training.optimizer import Optimizer, initial_moments, update

ADAM = {"betas": (0.8, 0.95), "eps": 0.01}  # large, so that it matters where it is added
ADAMW = {"betas": (0.7, 0.9), "eps": 0.02}


def optimizer(name: str, *, nesterov: bool = True, momentum: float = 0.9) -> Optimizer:
    return Optimizer.parse(
        {
            "name": name,
            "lr": 0.1,
            "weight_decay": 0.01,
            "sgd": {"momentum": momentum, "nesterov": nesterov},
            "adam": ADAM,
            "adamw": ADAMW,
        }
    )


@pytest.mark.parametrize(
    ("ours", "make"),
    [
        (optimizer("sgd"), lambda g: torch.optim.SGD(g, 0.1, momentum=0.9, nesterov=True)),
        (optimizer("sgd", nesterov=False), lambda g: torch.optim.SGD(g, 0.1, momentum=0.9)),
        (
            optimizer("sgd", nesterov=False, momentum=0.0),
            lambda g: torch.optim.SGD(g, 0.1),
        ),
        (optimizer("adam"), lambda g: torch.optim.Adam(g, 0.1, **ADAM)),
        (optimizer("adamw"), lambda g: torch.optim.AdamW(g, 0.1, **ADAMW)),
    ],
)
def test_steps_are_those_of_torch(
    ours: Optimizer, make: Callable[[list[dict[str, Any]]], torch.optim.Optimizer]
) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(7, generator=generator)
    decayed, plain = start[:4].clone(), start[4:].clone()
    theirs = make(
        [{"params": [decayed], "weight_decay": 0.01}, {"params": [plain], "weight_decay": 0.0}]
    )
    weights, moments = start.clone(), initial_moments(start)
    for step in range(5):
        gradient = torch.randn(7, generator=generator)
        decayed.grad, plain.grad = gradient[:4].clone(), gradient[4:].clone()
        theirs.step()
        update(ours, weights, gradient, moments, lr=0.1, step=step, decayed=4)
    torch.testing.assert_close(weights, torch.cat([decayed, plain]))


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(InputError, match="expected a momentum above 0 where nesterov is true"):
        optimizer("sgd", momentum=0.0)


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(InputError, match="name is 'sdg'; expected 'adam', 'adamw' or 'sgd'"):
        optimizer("sdg")
