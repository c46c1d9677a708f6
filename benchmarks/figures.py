"""Write the measured figures into README.md, between its marks: python -m benchmarks.figures

A mark is `<!-- figures: NAME -->`; up to `<!-- end -->` stands what `NAME` makes of the results.
"""

from collections.abc import Callable

from benchmarks import measure
from digits import files

README = measure.ROOT / "README.md"


def main() -> None:
    text = README.read_text(encoding="utf-8")
    for name, write in FIGURES.items():
        begin, end = f"<!-- figures: {name} -->", "<!-- end -->"
        before, found, rest = text.partition(begin)
        if not found or end not in rest:
            raise SystemExit(f"README.md has no {begin} ... {end}")
        text = f"{before}{begin}\n{write()}\n{end}{rest.partition(end)[2]}"
    files.write(README, text)


def accuracy() -> str:
    results = measure.load("accuracy")
    machine = results.pop("machine")
    lines = ["| recipe | test accuracy | training | weights |", "|---|---|---|---|"]
    for name, entry in results.items():
        percent = measure.spread([100 * value for value in entry["accuracy"]])
        seconds = measure.spread(entry["train_s"])
        weights = f"{entry['parameters']:,}"
        lines.append(f"| {name}, {entry['precision']} | {percent} % | {seconds} s | {weights} |")
    lines.append(f"\nMean ± standard deviation over seeds, on {machine['cores']} cores of a")
    lines.append(f"{machine['cpu']} ({machine['instruction_set']}), PyTorch {machine['torch']}.")
    return "\n".join(lines)


FIGURES: dict[str, Callable[[], str]] = {"accuracy": accuracy}


if __name__ == "__main__":
    main()
