"""Write the measured figures into README.md, between its marks: python -m benchmarks.figures

A mark is `<!-- figures: NAME -->`; up to `<!-- end -->` stands what `NAME` makes of the results.
"""

from collections.abc import Callable
from statistics import mean, median, stdev

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
        percent = [100 * value for value in entry["accuracy"]]
        accuracy = f"{mean(percent):.2f} % ± {stdev(percent):.2f}"
        seconds = f"{median(entry['train_s']):.0f} s ({min(entry['train_s']):.0f} to"
        seconds = f"{seconds} {max(entry['train_s']):.0f})"
        lines.append(
            f"| {name}, {entry['precision']} | {accuracy}, n={len(percent)} | {seconds} "
            f"| {entry['parameters']:,} |"
        )
    lines.append(
        "\nAccuracy: mean ± standard deviation over n seeds. Training: median (least to most), on"
    )
    lines.append(f"{machine['cores']} cores of a {machine['cpu']} ({machine['instruction_set']}).")
    return "\n".join(lines)


FIGURES: dict[str, Callable[[], str]] = {"accuracy": accuracy}


if __name__ == "__main__":
    main()
