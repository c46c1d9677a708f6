"""How often the gate blocks equal models, and how often it catches a loss.

python -m benchmarks.gate_power

One run on each side: computed exactly, over all numbers of broken and of fixed images. Both numbers
are Poisson distributed, with 10,000 test images. Several runs (seeds) on each side: simulated, with
images that are wrong by chance. Real models: all pairs of runs of one recipe in accuracy.json,
which differ only in the seed. Pairs share models, so the standard error is a jackknife over the
models.

From one to five seeds on either side, equal models differ in 31 images, as real ones do (below).
Their accuracies then have a standard deviation of 0.04 points. `blocked` and `better` are the
gate's verdicts. `marked` is how often the report and a sweep call equal models better or worse by
another figure, like nll, whose runs are normally distributed.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import permutations, product
from statistics import fmean
from typing import Any

import numpy as np
from scipy import stats

from benchmarks import measure
from digits.core import command_line, errors, params
from digits.core.arrays import BoolArray, Float64Array
from digits.gate import judge
from digits.gate.judge import ALPHA, Difference
from digits.gate.rules import Rules
from digits.gate.seed_spread import mean_difference

IMAGES = 10_000
DISCORDANCE = (20, 35, 50, 80)
RETRAINED = ("default", "short")  # recipes of benchmarks.accuracy
LOSSES = (0, 10, 20, 30)  # images of 10,000
DRAWS = 10_000
SEEDS = range(1, 6)
RETRAINED_DISCORDANCE = 31  # images between two seeds of one recipe
SEED_DRAWS = 2_000  # for each number of seeds
RULES = Rules.parse(params.read_yaml(measure.ROOT / "params.yaml")["gate"])

Gate = Callable[[Difference], bool]


def luck(difference: Difference) -> bool:
    return bool(judge.worse_than_luck("images", difference, ALPHA))


def margin(images: int) -> Gate:
    rules = RULES.model_copy(update={"max_loss": images})
    return lambda difference: luck(difference) or bool(judge.too_large_a_loss(difference, rules))


def excused_by_t(difference: Difference) -> bool:
    excused = difference.loss <= (difference.seeds_margin or 0)
    return bool(judge.too_large_a_loss(difference, RULES)) or (luck(difference) and not excused)


GATES: dict[str, Gate] = {
    "the gate": margin(RULES.max_loss),
    "the test for luck alone": luck,
    "a bound of 20": margin(20),
    "a bound of 10": margin(10),
    "any more errors": lambda difference: difference.loss > 0,
}


def main() -> None:
    command_line.parser("benchmarks.gate_power", __doc__).parse_args()
    exact = {name: blocked_exactly(decide) for name, decide in GATES.items()}
    three = blocked_with_seeds(GATES["the gate"], runs=3)
    for name, table in [*exact.items(), ("the gate, three runs on each side", three)]:
        print(f"\n{name}: share blocked, by discordant images (rows) and lost images (columns)")
        for discordance, row in table.items():
            cells = "  ".join(f"{loss:>2}: {share:7.2%}" for loss, share in row.items())
            print(f"  {discordance:>2}   {cells}")
    results: dict[str, Any] = {"exact": exact, "three_runs": three, "draws": DRAWS}
    results["seeds"] = by_seeds(GATES["the gate"])
    results["real"] = {recipe: blocked_in_reality(recipe) for recipe in RETRAINED}
    print("\nreal models that differ only in the seed:", results["real"])
    measure.save("gate_power", results)


def blocked_exactly(decide: Gate) -> dict[int, dict[int, float]]:
    """The share blocked, by mean number of discordant images and by true loss."""
    blocked = np.array([[decide(difference) for difference in row] for row in every_count()])
    largest = len(blocked)
    return {
        m: {
            loss: round(float(poisson((m + loss) / 2, largest) @ blocked @ fixed), 5)
            for loss in LOSSES
            if loss <= m
            for fixed in [poisson((m - loss) / 2, largest)]
        }
        for m in DISCORDANCE
    }


@cache
def every_count() -> list[list[Difference]]:
    """The difference for each number of broken images (rows) and of fixed images (columns)."""
    counts = range(2 * max(DISCORDANCE))
    return [[judge.measure([1] * b + [-1] * f, IMAGES) for f in counts] for b in counts]


def poisson(mean: float, size: int) -> Float64Array:
    probabilities: Float64Array = stats.poisson.pmf(np.arange(size), mean)
    return probabilities


def blocked_with_seeds(decide: Gate, runs: int) -> dict[int, dict[int, float]]:
    """As `blocked_exactly`, with several runs on each side, each with its own random errors.

    The lost images are among the discordant ones.
    """
    rng = np.random.default_rng(0)
    return {
        m: {
            loss: frequency(
                decide(difference)
                for difference in draws(rng, DRAWS, (runs, runs), common=m - loss, lost=loss)
            )
            for loss in LOSSES
            if loss <= m
        }
        for m in DISCORDANCE
    }


def by_seeds(decide: Gate) -> dict[str, Any]:
    """Rates by the numbers of seeds, "BASE/CANDIDATE"; the lost images add to the discordant ones.

    blocked : by true loss
    blocked_if_t : if the runs' spread excused a loss within Student's t interval
    better, marked : of equal models
    """
    rng = np.random.default_rng(0)
    rates = {}
    for sides in product(SEEDS, SEEDS):
        by_loss = {
            loss: list(draws(rng, SEED_DRAWS, sides, common=RETRAINED_DISCORDANCE, lost=loss))
            for loss in LOSSES
        }
        rates["/".join(map(str, sides))] = {
            "blocked": {loss: frequency(map(decide, found)) for loss, found in by_loss.items()},
            "blocked_if_t": {
                loss: frequency(map(excused_by_t, found)) for loss, found in by_loss.items()
            },
            "better": frequency(d.is_gain and d.p <= ALPHA for d in by_loss[0]),
            "marked": marked(rng, sides),
        }
        print(f"  seeds {sides[0]} and {sides[1]}:", rates["/".join(map(str, sides))], flush=True)
    return {"discordance": RETRAINED_DISCORDANCE, "draws": SEED_DRAWS, "rates": rates}


def draws(
    rng: np.random.Generator, count: int, sides: tuple[int, int], *, common: int, lost: int
) -> Iterator[Difference]:
    """Differences of simulated models; `sides` are the numbers of runs of base and candidate.

    An image that is ever wrong is wrong in half of the runs, so two equal runs differ in half of
    these images: in `common` of them. Lost images are wrong in half of the candidate's runs, and in
    none of the base's.
    """
    base_runs, candidate_runs = sides
    for _ in range(count):
        base: BoolArray = rng.random((base_runs, 2 * (common + lost))) < 0.5
        base[:, 2 * common :] = False
        candidate: BoolArray = rng.random((candidate_runs, 2 * (common + lost))) < 0.5
        spread = mean_difference(*[side.sum(axis=1).tolist() for side in (base, candidate)])
        differences = base_runs * candidate.sum(axis=0) - candidate_runs * base.sum(axis=0)
        signed = differences[differences != 0].tolist()
        yield judge.measure(signed, IMAGES, base_runs * candidate_runs, spread)


def marked(rng: np.random.Generator, sides: tuple[int, int]) -> float | None:
    """The share of equal models that another figure calls better or worse; None if untested."""
    if max(sides) == 1:
        return None
    found = []
    for _ in range(SEED_DRAWS):
        one, other = (rng.standard_normal(runs).tolist() for runs in sides)
        spread = mean_difference(one, other)
        found.append(spread is not None and abs(fmean(one) - fmean(other)) > spread.margin)
    return frequency(found)


def frequency(decisions: Iterable[bool]) -> float:
    return round(fmean(decisions), 4)


def blocked_in_reality(recipe: str) -> dict[str, float]:
    """The share of all ordered pairs of a recipe's runs that is blocked, and its error."""
    wrong = [set(run) for run in measure.load("accuracy")[recipe]["wrong"]]
    n = len(wrong)
    blocked = np.zeros((n, n))
    discordant = []
    for i, j in permutations(range(n), 2):
        broken, fixed = len(wrong[j] - wrong[i]), len(wrong[i] - wrong[j])
        discordant.append(broken + fixed)
        blocked[i, j] = GATES["the gate"](judge.measure([1] * broken + [-1] * fixed, IMAGES))
    share = blocked.sum() / (n * (n - 1))
    without = [
        (blocked.sum() - blocked[i].sum() - blocked[:, i].sum()) / ((n - 1) * (n - 2))
        for i in range(n)
    ]
    error = math.sqrt((n - 1) / n * sum((w - share) ** 2 for w in without))
    return {
        "runs": n,
        "pairs": n * (n - 1),
        "blocked": round(float(share), 4),
        "standard_error": round(error, 4),
        "mean_discordance": round(float(np.mean(discordant)), 1),
    }


if __name__ == "__main__":
    errors.run(main)
