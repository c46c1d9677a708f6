"""Break metrics folders in thousands of ways, and see what the gate says to each.

python -m benchmarks.gate_fuzz [--examples N] [--seed N]

Hypothesis builds a base and a candidate, each with two seeds, and breaks one file of one run:
values, keys, encodings, rows, or what is in the file's place (tests/helpers/broken_metrics.py). The
gate must refuse each with a message that names the file and the field: never a pass, never a
traceback. A third of the examples change bytes at random; if the gate then accepts the files, their
figures must still add up.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from benchmarks import measure
from digits.core import command_line, errors
from tests.helpers import broken_metrics
from tests.helpers.broken_metrics import Fault, broken_folders, damage, example

Check = Callable[[Fault, Path, Path], str | None]
SHOWN = 20


def main() -> None:
    parser = command_line.parser("benchmarks.gate_fuzz", __doc__)
    parser.add_argument("--examples", type=int, default=12_000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the examples; default: %(default)s")
    args = parser.parse_args()
    started = time.perf_counter()
    damaged = args.examples // 3
    complaints = [
        *try_all(broken_folders(), broken_metrics.complaint, args.examples - damaged, args.seed),
        *try_all(damage(), broken_metrics.unsound, damaged, args.seed),
    ]
    for complaint in complaints[:SHOWN]:
        print(f"  {complaint}")
    elapsed = time.perf_counter() - started
    print(f"{args.examples:,} examples in {elapsed:.0f} s: {len(complaints)} wrong")
    results = {"seed": args.seed, "broken": args.examples - damaged, "damaged": damaged}
    measure.save("gate_fuzz", results | {"wrong": len(complaints)})
    sys.exit(1 if complaints else 0)


def try_all(faults: SearchStrategy[Fault], check: Check, examples: int, number: int) -> list[str]:
    """What the gate does wrong, for this many examples."""
    complaints = []

    @seed(number)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(faults)
    def run(fault: Fault) -> None:
        with example(fault) as (base, candidate):
            if complaint := check(fault, base, candidate):
                complaints.append(complaint)

    run()
    return complaints


if __name__ == "__main__":
    errors.run(main)
