import pytest

from digits.training.schedule import Cosine, OneCycle, Schedule, StepDecay, learning_rate_factor


def factors(name: str, steps: int = 100, **changes: object) -> list[float]:
    schedule = Schedule(
        name=name,
        step=StepDecay(every=2, gamma=0.5),
        cosine=Cosine(final=0.1),
        onecycle=OneCycle(warmup=0.2, final=0.0),
    ).model_copy(update=changes)
    return [learning_rate_factor(schedule, i, steps, 10) for i in range(steps)]


def test_constant_stays() -> None:
    assert set(factors("constant")) == {1.0}


def test_step_halves_every_two_epochs() -> None:
    found = factors("step")
    assert (found[19], found[20], found[39], found[40]) == (1.0, 0.5, 0.5, 0.25)


def test_cosine_falls_from_one_to_its_final_share() -> None:
    found = factors("cosine")
    assert found == sorted(found, reverse=True)
    assert found[0] == pytest.approx(1, abs=0.001)
    assert found[-1] == pytest.approx(0.1, abs=0.001)


def test_onecycle_peaks_after_its_warm_up() -> None:
    found = factors("onecycle")
    assert found.index(max(found)) in (19, 20)
    assert found[0] == pytest.approx(0.025)
    assert 0 < found[-1] < 0.01


@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_onecycle_without_rise_or_fall(warmup: float) -> None:
    found = factors("onecycle", onecycle=OneCycle(warmup=warmup, final=0.0))
    assert found == sorted(found, reverse=warmup == 0)
    assert all(0 < f <= 1 for f in found)
