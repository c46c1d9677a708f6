"""Write the measured figures into README.md and docs/, between marks: python -m benchmarks.figures

A mark is `<!-- figures: NAME -->`; up to `<!-- end -->` stands what `NAME` makes of the results.
"""

import math
from collections.abc import Callable, Mapping
from statistics import mean, median, stdev
from typing import Any

from benchmarks import measure
from digits.core import command_line, errors, files

PAGES = (measure.ROOT / "README.md", *sorted((measure.ROOT / "docs").rglob("*.md")))


def main() -> None:
    command_line.parser("benchmarks.figures", __doc__).parse_args()
    for name, write in FIGURES.items():
        mark = f"<!-- figures: {name} -->"
        pages = [page for page in PAGES if mark in page.read_text(encoding="utf-8")]
        if not pages:
            raise SystemExit(f"no page has {mark}: neither README.md nor one in docs/")
        for page in pages:
            before, _, rest = page.read_text(encoding="utf-8").partition(mark)
            _, end, after = rest.partition("<!-- end -->")
            if not end:
                raise SystemExit(f"{page}: after {mark} there is no <!-- end -->")
            files.write(page, f"{before}{mark}\n{write()}\n{end}{after}")


def accuracy() -> str:
    results = measure.load("accuracy")
    results.pop("machine")  # of the last run; each recipe has its own
    lines = [
        "| recipe | test accuracy | corrupted | weights | ONNX file | training | an image | on |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, entry in results.items():
        corrupted = _percent(entry["robustness"]) if "robustness" in entry else ""
        size = f"{entry['model_bytes'] / 1000:,.0f} kB" if "model_bytes" in entry else ""
        training, single = (entry.get(key, []) for key in ("train_s", "us_per_image"))
        if entry.get("device") == "cuda":
            single = []  # the model is served on a CPU, whatever trained it
        lines.append(
            f"| {name} | {_percent(entry['accuracy'])}, n={len(entry['seeds'])} | {corrupted} "
            f"| {entry['parameters']:,} | {size} "
            f"| {_times(training, 's')} | {_times(single, 'µs')} | {_on(entry)} |"
        )
    lines.append(
        "\nMean ± standard deviation over n seeds. Times: median (least to most); that of an image "
        "on one core, of many at once. Corrupted: the mean over the ten corruptions."
    )
    return "\n".join(lines)


def _percent(shares: list[float]) -> str:
    percent = [100 * share for share in shares]
    return f"{mean(percent):.2f} % ± {stdev(percent):.2f}"


def _times(values: list[float], unit: str) -> str:
    return f"{_range(values, '.0f')} {unit}, n={len(values)}" if values else ""


def engine() -> str:
    throughput, scaling, overhead = map(measure.load, ("throughput", "scaling", "overhead"))
    rates, kinds = throughput["images_per_s"], throughput["time_by_kind"]
    costs = ", ".join(f"{share:.0%} {kind}" for kind, share in kinds.items())
    faster = " and ".join(
        f"{name} {_range(ratios, '.2f')} times" for name, ratios in scaling["ratio"].items()
    )
    beside, idle = overhead["overhead_s"], overhead["idle_s"]["ours"]
    slowest = max(median(values) for values in overhead["help_cpu_s"].values())
    lines = [
        f"- {_spread(rates)} images/s, "
        f"{throughput['median_share']:.0%} of what its multiplications would allow at the rate of "
        f"this machine's large matrix products. A worker's time: {costs}.",
        f"- {faster} as fast as one (n={len(scaling['epoch_s']['1 worker'])}).",
        f"- `dvc repro` from nothing takes {_range(beside, '.1f')} s, n={len(beside)}, on top of "
        f"the training loop, for all stages. With nothing to do it takes {_range(idle, '.2f')} s, "
        f"{_range(overhead['idle_ratio'], '.2f')} times what it takes in a repository with one "
        f"stage.",
        f"- The commands show their `--help` within {slowest:.2f} s of processor time. This, "
        f"`dvc repro` and the next: {_on(overhead)}.",
        f"- A checkpoint costs {overhead['checkpoint_share']:.2%} of its epoch; `train` needs "
        f"{overhead['peak_memory_mb']['train']} MB at most.",
    ]
    return "\n".join([*lines, "", _machine(throughput)])


def gpu() -> str:
    throughput, trained = measure.load("throughput-cuda"), measure.load("accuracy")
    kinds = throughput["time_by_kind"]
    full, half = (trained[name]["train_s"] for name in ("cuda", "cuda-bfloat16"))
    return (
        f"- The default recipe takes {_range(full, '.1f')} s to train, in bfloat16 "
        f"{_range(half, '.1f')} s, n={len(full)}.\n"
        f"- {_spread(throughput['images_per_s'])} images/s in float32, start included, are "
        f"{throughput['median_share']:.1%} of what its multiplications would allow at the rate of "
        f"large matrix products: of the time, {kinds['waiting']:.0%} is spent waiting for the next "
        f"operation, and {kinds['convolutions and matrix products']:.0%} on convolutions and "
        f"matrix products, all of them small.\n\n"
        f"On one {throughput['machine']['gpu']}, torch {throughput['machine']['torch']}."
    )


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
            f"{f'more than {math.floor(ratio)}' if never else f'{ratio:.0f}'} times |"
        )
    return "\n".join([*lines, "", _machine(results)])


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
    blocked = (
        f"{found['blocked']:.1%} ± {found['standard_error']:.1%} are blocked ({recipe} recipe, "
        f"{found['runs']} trainings, {found['pairs']} pairs, {found['mean_discordance']:.0f} "
        f"discordant images on average)"
        for recipe, found in results["real"].items()
    )
    lines.append(f"\nOf real models that differ in the seed alone, {', and '.join(blocked)}.")
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


def inference() -> str:
    results = measure.load("inference")
    npy, png = results["npy"], results["png"]
    share, torch = npy["share_of_onnxruntime"], npy["times_torch"]
    single = npy["times_torch_one_by_one"]
    ray = results["ray"]
    memory = {images: median(found) for images, found in results["memory"]["peak_mb"].items()}
    lines = [
        f"- From one `.npy` of {npy['images']:,} images, start-up and Parquet included: "
        f"{_spread(npy['images_per_s'])} images/s. That is {_range(share, '.0%')} of what ONNX "
        f"Runtime alone gives at its best ({npy['onnxruntime_at']}), {_range(torch, '.1f')} times "
        f"eager torch at its best ({npy['torch_at']}), and {_range(single, '.1f')} times image by "
        f"image.",
        f"- From {png['files']:,} PNG files: {_spread(png['images_per_s'])} images/s, "
        f"{_range(png['ratio'], '.1f')} times as many as one worker reads, start-up included, and "
        f"{_range(png['ratio_beyond_start'], '.1f')} times beyond it.",
        f"- On Ray, two workers answer {_range(ray['ratio'], '.1f')} times as fast as one "
        f"(n={len(ray['ratio'])}, {ray['images']:,} images).",
        f"- Memory: {memory['10000']:.0f} MB for 10,000 images, {memory['1000000']:.0f} MB for a "
        f"million.",
    ]
    return "\n".join([*lines, "", _machine(results)])


def server() -> str:
    results = measure.load("server")
    share = results["share_of_constant"]
    lines = [
        "| a request with | median, one client | requests/s, "
        f"{results['clients']} clients | of a constant's |",
        "|---|---|---|---|",
    ]
    for key, latency in results["latency_ms"].items():
        name, _, by = key.rpartition(", ")
        if by != "/constant":
            title = name if by == "ours" else f"{name}, bare FastAPI and eager torch"
            part = f"{share[name]:.0%}" if by == "ours" else ""
            rate = _spread(results["requests_per_s"][key])
            lines.append(f"| {title} | {median(latency):.2f} ms | {rate} | {part} |")
    before, after = results["memory_mb"]
    lines.append(
        f'\n"A constant" is an endpoint of the same framework that reads the same body and answers '
        f"always the same. Memory: {before:.0f} MB after 5,000 requests, {after:.0f} MB after "
        f"100,000 more."
    )
    return "\n".join([*lines, "", _machine(results)])


def _machine(results: Mapping[str, Any]) -> str:
    return f"On {_on(results)}."


def _on(results: Mapping[str, Any]) -> str:
    """The machine that times are of; nothing where there are none."""
    if "machine" not in results:
        return ""
    if results.get("device") == "cuda":
        return str(results["machine"]["gpu"])
    return f"{results['machine']['cores']} cores of {results['machine']['cpu']}"


def _spread(values: list[float]) -> str:
    return f"{mean(values):,.0f} ± {stdev(values):,.0f} (n={len(values)})"


def _range(values: list[float], form: str) -> str:
    if len(values) == 1:
        return f"{values[0]:{form}}"
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


FIGURES: dict[str, Callable[[], str]] = {
    "accuracy": accuracy,
    "engine": engine,
    "gpu": gpu,
    "time to accuracy": time_to_accuracy,
    "gate power": gate_power,
    "inference": inference,
    "photos": photos,
    "server": server,
}


if __name__ == "__main__":
    errors.run(main)
