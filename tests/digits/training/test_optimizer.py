from collections.abc import Callable
from typing import Any

import pytest
import torch

from digits.core.errors import InputError
from digits.training.optimizer import Optimizer, initial_moments, orthogonal, update

ADAM = {"betas": (0.8, 0.95), "eps": 1e-6}


def optimizer(name: str, *, nesterov: bool = True, momentum: float = 0.9) -> Optimizer:
    return Optimizer.parse(
        {
            "name": name,
            "lr": 0.1,
            "weight_decay": 0.01,
            "sgd": {"momentum": momentum, "nesterov": nesterov},
            "muon": {"lr": 0.05},
            "adam": ADAM,
            "adamw": ADAM,
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
        (optimizer("adamw"), lambda g: torch.optim.AdamW(g, 0.1, **ADAM)),
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
        update(ours, weights, gradient, moments, lr=0.1, step=step, decayed=4, kernels=lambda _: [])
    torch.testing.assert_close(weights, torch.cat([decayed, plain]))


@pytest.mark.parametrize("nesterov", [True, False])
def test_muon_turns_kernels_and_is_sgd_for_all_else(nesterov: bool) -> None:
    """The first six weights are a kernel; a step is as long however large the gradient is."""
    generator = torch.Generator().manual_seed(0)
    start, gradient = torch.randn(2, 9, generator=generator)
    found = []
    for name, size in (("sgd", 1.0), ("muon", 1.0), ("muon", 1000.0)):
        weights, scaled, moments = start.clone(), gradient.clone(), initial_moments(start)
        scaled[:6] *= size
        update(
            optimizer(name, nesterov=nesterov),
            weights,
            scaled,
            moments,
            lr=0.1,
            step=0,
            decayed=0,
            kernels=lambda vector: [vector[:6].view(2, 3, 1, 1)],
        )
        found.append(weights)
    sgd, muon, steeper = found
    assert torch.equal(muon[6:], sgd[6:])
    torch.testing.assert_close(muon, steeper)
    torch.testing.assert_close(muon[:6].norm(), start[:6].norm())
    u, _, v = torch.linalg.svd(gradient[:6].view(2, 3), full_matrices=False)
    way = (start - muon)[:6].view(2, 3)
    assert 0.03 < way.norm() < 0.09  # at most 1.2 times the rate, 0.05, in two directions
    assert (way * (u @ v)).sum() > 0.8 * way.norm() * (u @ v).norm()


@pytest.mark.parametrize("shape", [(6, 40), (40, 6)])
def test_an_orthogonal_step_goes_as_far_in_each_direction(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    u, v = (torch.linalg.qr(torch.randn(n, 6, generator=generator)).Q for n in shape)
    values = torch.tensor([1.0, 0.7, 0.5, 0.2, 0.1, 0.05])
    found = u.T @ orthogonal(100 * u @ values.diag() @ v.T) @ v
    assert ((found.diag() > 0.65) & (found.diag() < 1.25)).all()
    assert (found - found.diag().diag()).abs().max() < 1e-3


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(InputError, match="expected a momentum above 0 where nesterov is true"):
        optimizer("sgd", momentum=0.0)


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(InputError, match="name is 'sdg'; expected 'adam', 'adamw', 'muon'"):
        optimizer("sdg")
