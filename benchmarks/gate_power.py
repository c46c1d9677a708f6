"""How often the gate blocks equal models, and how often it catches a loss.

python -m benchmarks.gate_power

One run on each side: computed exactly, over all numbers of broken and of fixed images. Both numbers
are Poisson distributed, with 10,000 test images. Three runs on each side: simulated, with images
that are wrong by chance. Real models: all pairs of runs of one recipe in accuracy.json, which
differ only in the seed. Pairs share models, so the standard error is a jackknife over the models.
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
from digits.gate.judge import ALPHA, Difference
from digits.gate.rules import Rules

IMAGES = 10_000
DISCORDANCE = (20, 35, 50, 80)
RETRAINED = ("default", "short")  # recipes of benchmarks.accuracy
LOSSES = (0, 10, 20, 30)  # images of 10,000
DRAWS = 10_000
RULES = Rules.parse(params.read_yaml(measure.ROOT / "params.yaml")["gate"])

Gate = Callable[[Difference], bool]


def luck(difference: Difference) -> bool:
    return bool(judge.worse_than_luck("images", difference, ALPHA))


def margin(images: int) -> Gate:
    rules = RULES.model_copy(update={"max_loss": images})
    return lambda difference: luck(difference) or bool(judge.too_large_a_loss(difference, rules))


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
    results = {"exact": exact, "three_runs": three, "draws": DRAWS}
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

    An image that is ever wrong is wrong in half of the runs, so two equal runs differ in half of
    these images. The candidate's loss comes from more such images.
    """
    rng = np.random.default_rng(0)
    shares: dict[int, dict[int, float]] = {}
    for m in DISCORDANCE:
        shares[m] = {}
        for loss in (loss for loss in LOSSES if loss <= m):
            # Lost images are wrong in half of the candidate's runs, and in none of the base's.
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
