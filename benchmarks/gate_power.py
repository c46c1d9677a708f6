"""How often the gate blocks equal models, and how often it catches a loss.

python -m benchmarks.gate_power

One run a side: exact, over all counts of broken and fixed images that 10,000 test images can give
when each kind is a Poisson number. Three runs a side: drawn, with images that err by chance. Real
models: all pairs of a recipe's runs in accuracy.json, which differ in nothing but the seed; pairs
share models, so the share's standard error is a jackknife over the models.
"""

import math
from collections.abc import Callable
from functools import cache
from itertools import permutations

import numpy as np
from scipy import stats

from benchmarks import measure
from digits.core import command_line, errors, params
from digits.core.arrays import Float64Array
from digits.gate import judge
from digits.gate.judge import LUCK, Difference
from digits.gate.rules import Rules

IMAGES = 10_000
DISCORDANCE = (20, 35, 50, 80)
RETRAINED = ("default", "short")  # recipes of benchmarks.accuracy
LOSSES = (0, 10, 20, 30)  # images of 10,000
DRAWS = 10_000
RULES = Rules.parse(params.read_yaml(measure.ROOT / "params.yaml")["gate"])

Gate = Callable[[Difference], bool]


def luck(found: Difference) -> bool:
    return bool(judge.worse_than_luck("images", found, LUCK))


def margin(images: int) -> Gate:
    rules = RULES.model_copy(update={"max_loss": images})
    return lambda found: luck(found) or bool(judge.too_large_a_loss(found, rules))


GATES: dict[str, Gate] = {
    "the gate": margin(RULES.max_loss),
    "the test for luck alone": luck,
    "a bound of 20": margin(20),
    "a bound of 10": margin(10),
    "any more errors": lambda found: found.loss > 0,
}


def main() -> None:
    command_line.parser("benchmarks.gate_power", __doc__).parse_args()
    exact = {name: blocked_exactly(decide) for name, decide in GATES.items()}
    three = blocked_with_seeds(GATES["the gate"], runs=3)
    for name, table in [*exact.items(), ("the gate, three runs a side", three)]:
        print(f"\n{name}: share blocked, by images that differ and images lost")
        for discordance, row in table.items():
            cells = "  ".join(f"{loss:>2}: {share:7.2%}" for loss, share in row.items())
            print(f"  {discordance:>2}   {cells}")
    results = {"exact": exact, "three_runs": three, "draws": DRAWS}
    results["real"] = {recipe: blocked_in_reality(recipe) for recipe in RETRAINED}
    print("\nreal models that differ in the seed alone:", results["real"])
    measure.save("gate_power", results)


def blocked_exactly(decide: Gate) -> dict[int, dict[int, float]]:
    """The share blocked, by mean number of discordant images and by true loss."""
    blocked = np.array([[decide(found) for found in row] for row in every_count()])
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
    """What is found for each number of broken images (rows) and of fixed ones."""
    counts = range(2 * max(DISCORDANCE))
    return [[judge.measure([1] * b + [-1] * f, IMAGES) for f in counts] for b in counts]


def poisson(mean: float, size: int) -> Float64Array:
    found: Float64Array = stats.poisson.pmf(np.arange(size), mean)
    return found


def blocked_with_seeds(decide: Gate, runs: int) -> dict[int, dict[int, float]]:
    """As `blocked_exactly`, with several runs a side that each draw their errors anew.

    An image that errs at all does so in half of the runs, which makes two equal runs differ in half
    of such images; a candidate's loss is as many more of them.
    """
    rng = np.random.default_rng(0)
    shares: dict[int, dict[int, float]] = {}
    for m in DISCORDANCE:
        shares[m] = {}
        for loss in (each for each in LOSSES if each <= m):
            # Lost images err in half of the candidate's runs, and never in the base's.
            lost, common = 2 * loss, 2 * (m - loss)
            blocked = 0
            for _ in range(DRAWS):
                base = rng.random((runs, common + lost)) < 0.5
                base[:, common:] = False
                candidate = rng.random((runs, common + lost)) < 0.5
                counts = [side.sum(axis=1).tolist() for side in (base, candidate)]
                error = judge.standard_error(counts)
                differences = runs * (candidate.sum(axis=0) - base.sum(axis=0))
                signed = differences[differences != 0].tolist()
                blocked += decide(judge.measure(signed, IMAGES, runs * runs, error))
            shares[m][loss] = round(blocked / DRAWS, 4)
    return shares


def blocked_in_reality(recipe: str) -> dict[str, float]:
    """Of all ordered pairs of a recipe's runs: the share blocked, and its error."""
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
