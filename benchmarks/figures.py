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
        times = entry["train_s"]
        seconds = f"{median(times):.0f} s ({min(times):.0f} to {max(times):.0f}, n={len(times)})"
        lines.append(
            f"| {name}, {entry['precision']} | {accuracy}, n={len(percent)} | {seconds} "
            f"| {entry['parameters']:,} |"
        )
    lines.append(
        "\nAccuracy: mean ± standard deviation over n seeds. Training: median (least to most), on"
    )
    lines.append(f"{machine['cores']} cores of a {machine['cpu']} ({machine['instruction_set']}).")
    return "\n".join(lines)


def engine() -> str:
    throughput, scaling, overhead = map(measure.load, ("throughput", "scaling", "overhead"))
    rates, kinds = throughput["images_per_s"], throughput["time_by_kind"]
    costs = ", ".join(f"{share:.0%} {kind}" for kind, share in kinds.items())
    faster = " and ".join(
        f"{name} {median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f})"
        for name, ratios in scaling["ratio"].items()
    )
    beside = overhead["overhead_s"]
    lines = [
        f"- {mean(rates):,.0f} ± {stdev(rates):,.0f} images/s (n={len(rates)}), "
        f"{throughput['median_share']:.0%} of what its multiplications would allow at the rate of "
        f"this machine's large matrix products. A worker's time: {costs}.",
        f"- {faster} as fast as one (n={len(scaling['epoch_s']['1 worker'])}).",
        f"- `dvc repro` from nothing takes {median(beside):.1f} s ({min(beside):.1f} to "
        f"{max(beside):.1f}, n={len(beside)}) beside the training loop, for all five stages.",
        f"- A checkpoint costs {overhead['checkpoint_share']:.2%} of its epoch; `train` needs "
        f"{overhead['peak_memory_mb']['train']} MB at most.",
    ]
    machine = throughput["machine"]
    return "\n".join([*lines, "", f"On {machine['cores']} cores of {machine['cpu']}."])


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


def photos() -> str:
    results = measure.load("photos")
    lines = ["| the test images as | right | change |", "|---|---|---|"]
    lines.append(f"| arrays | {results['arrays']:.2%} | |")
    for name, way in results["ways"].items():
        change = f"{100 * way['change']:+.2f} ± {100 * way['error']:.2f} points"
        lines.append(f"| {name.replace('_', ' ')} | {way['accuracy']:.2%} | {change} |")
    lines.append(
        f"\nEach on all {results['images']:,} images; ± is the standard error of the paired "
        f"difference."
    )
    lines += ["\n| no digit | refused | read with a confidence of 0.9 or more |", "|---|---|---|"]
    for name, other in results["others"].items():
        cells = (
            f"{name.replace('_', ' ')}, n={other['images']:,}",
            other["refused"],
            other["sure"],
        )
        lines.append("| {} | {:.1%} | {:.1%} |".format(*cells))
    return "\n".join(lines)


FIGURES: dict[str, Callable[[], str]] = {
    "accuracy": accuracy,
    "engine": engine,
    "time to accuracy": time_to_accuracy,
    "gate power": gate_power,
    "photos": photos,
}


if __name__ == "__main__":
    main()
