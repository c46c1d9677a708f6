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


def time_to_accuracy() -> str:
    results = measure.load("time_to_accuracy")
    lines = ["| test accuracy | here | PyTorch's example | |", "|---|---|---|---|"]
    for goal, ratio in results["ratio"].items():
        runs = results["runs"][goal]
        reached = sum(accuracy >= float(goal) for accuracy in runs["accuracy"])
        never = goal in results["baseline_never_reached"]
        lines.append(
            f"| {float(goal):.1%} | {results['ours'][goal]:.1f} s ({reached} of "
            f"{len(runs['accuracy'])} runs reach it) | {'never, in ' if never else ''}"
            f"{results['baseline'][goal]:.0f} s | "
            f"{'more than ' if never else ''}{ratio:.0f} times |"
        )
    return "\n".join(lines)


def gate_power() -> str:
    results = measure.load("gate_power")
    tables = {**results["exact"], "the gate, three runs a side": results["three_runs"]}
    header = ["equals blocked", "loss of 10 caught", "loss of 20", "loss of 30"]
    lines = [f"| | {' | '.join(header)} |", "|---|---|---|---|---|"]
    for name, table in tables.items():
        cells = []
        for loss in ("0", "10", "20", "30"):
            shares = [row[loss] for row in table.values() if loss in row]
            cells.append(f"{min(shares):.1%} to {max(shares):.1%}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    real = results["real"]
    lines.append(
        f"\nOf {real['pairs']} pairs of real models that differ in the seed alone "
        f"({real['runs']} trainings), {real['blocked']:.1%} ± {real['standard_error']:.1%} are "
        f"blocked."
    )
    return "\n".join(lines)


FIGURES: dict[str, Callable[[], str]] = {
    "accuracy": accuracy,
    "time to accuracy": time_to_accuracy,
    "gate power": gate_power,
}


if __name__ == "__main__":
    main()
