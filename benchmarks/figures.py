"""Write the measured figures into README.md and the pages of docs/: python -m benchmarks.figures

The block between `<!-- figures: NAME -->` and `<!-- end -->` is rewritten from benchmarks/results/
by the function that BLOCKS names for NAME. The steps of `make rehearsal` are such a block, too.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from benchmarks import measure
from digits.core import command_line, errors, files
from digits.core.errors import InputError
from ops import rehearsal

PAGES = (measure.ROOT / "README.md", *sorted((measure.ROOT / "docs").rglob("*.md")))
MARK = re.compile(r"<!-- figures: (.+?) -->")
END = "<!-- end -->"
DETECTOR = "398 kB"  # in the model file


def main() -> None:
    command_line.parser("benchmarks.figures", __doc__).parse_args()
    for page in PAGES:
        files.write(page, filled(page))


def filled(page: Path) -> str:
    """The text of a page, with each block rewritten from the results."""
    text, *blocks = MARK.split(page.read_text(encoding="utf-8"))
    for name, rest in zip(blocks[::2], blocks[1::2], strict=True):
        _, end, after = rest.partition(END)
        if not end:
            raise InputError(f"{page}: the block of figures {name!r} has no {END}")
        if name not in BLOCKS:
            raise InputError(f"{page}: no figures {name!r}; expected one of: {', '.join(BLOCKS)}")
        text += f"<!-- figures: {name} -->\n{BLOCKS[name]()}\n{END}{after}"
    return text


def headlines() -> str:
    """The figures of the front page."""
    recipe = measure.load("accuracy")["default"]
    speed = measure.load("time_to_accuracy")
    loss = measure.load("gate_power")["exact"]["the gate"]
    caught = min(shares["30"] for shares in loss.values() if "30" in shares)
    equals = [shares["0"] for shares in loss.values()]
    photos = measure.load("own_photos")["surroundings"]["as_they_are"]
    goal = max(speed["ratio"].keys() - set(speed["baseline_never_reached"]), key=float)
    return (
        f"- **Accuracy: {_accuracy(recipe['accuracy'])}** on MNIST's test images (mean and "
        f"standard deviation over {len(recipe['seeds'])} seeds), after "
        f"{_range(recipe['train_s'], '.0f')} s of training on {_on(recipe)}. The classifier has "
        f"{recipe['model_bytes'] / 1000:,.0f} kB as ONNX, the detector of what is no digit "
        f"{DETECTOR} more.\n"
        f"- **Photos: {_percent(photos['right'], 1)}** of {photos['images']} photos, scans and "
        f"drawings of digits from public repositories are read right, and "
        f"{_percent(photos['sure_and_wrong'], 1)} wrong with a confidence of 0.9 or more "
        f"([yours?](docs/how-to/many-images.md)). The model learnt from MNIST alone.\n"
        f"- **Speed: {speed['ours'][goal]:.1f} s to {_percent(float(goal), 1)} accuracy**, with a "
        f"recipe for that goal. PyTorch's MNIST example takes {speed['baseline'][goal]:.0f} s on "
        f"the same threads, {speed['ratio'][goal]:.0f} times as long.\n"
        f"- **The gate** blocks {_percent(caught, 1)} or more of the changes that truly lose 30 of "
        f"10,000 test images, and {_percent(min(equals), 1)} to {_percent(max(equals), 1)} of "
        f"those that lose none (computed for one run on each side, and for up to "
        f"{max(map(int, loss))} images that only one of the two models gets wrong)."
    )


def accuracy() -> str:
    results = measure.load("accuracy")
    results.pop("machine")  # the last run's; each recipe has its own
    rows = []
    for name, entry in results.items():
        corrupted = _accuracy(entry["robustness"]) if "robustness" in entry else ""
        size = f"{entry['model_bytes'] / 1000:,.0f} kB" if "model_bytes" in entry else ""
        training, single = (entry.get(key, []) for key in ("train_s", "us_per_image"))
        if entry.get("device") == "cuda":
            single = []  # a model is served on a CPU, also if a GPU trained it
        tested = f"{_accuracy(entry['accuracy'])}, n={len(entry['seeds'])}"
        weights, times = f"{entry['parameters']:,}", (_times(training, "s"), _times(single, "µs"))
        rows.append((name, tested, corrupted, weights, size, *times, _on(entry)))
    header = "recipe|test accuracy|corrupted|weights|ONNX file|training|one image|on"
    return (
        f"{_table(header, rows)}\n\n"
        "Accuracies: mean ± standard deviation over n seeds; corrupted: the mean over the ten "
        "corruptions. Times: median (minimum to maximum). One image: the time to classify many "
        "images on one core, divided by their number. All without the [detector]"
        "(explanation.md#images-that-show-no-digit), which changes no answer; in the model that is "
        f"served, it adds {DETECTOR} and three fifths of the time for one of `default`."
    )


def _table(header: str, rows: Iterable[Sequence[str]]) -> str:
    names = header.split("|")
    lines = [f"| {' | '.join(cells)} |" for cells in (names, *rows)]
    return "\n".join([lines[0], "|---" * len(names) + "|", *lines[1:]])


def _percent(share: float, decimals: int) -> str:
    return f"{100 * share:.{decimals}f} %"


def _accuracy(shares: list[float]) -> str:
    return f"{_percent(mean(shares), 2)} ± {100 * stdev(shares):.2f}"


def _times(values: list[float], unit: str) -> str:
    return f"{_range(values, '.0f')} {unit}, n={len(values)}" if values else ""


def engine() -> str:
    throughput, scaling, overhead = map(measure.load, ("throughput", "scaling", "overhead"))
    kinds = ", ".join(
        f"{_percent(share, 0)} {kind}" for kind, share in throughput["time_by_kind"].items()
    )
    faster = " and ".join(
        f"{name} are {_range(ratios, '.2f')} times" for name, ratios in scaling["ratio"].items()
    )
    shares = throughput["share_of_limit"]
    added, idle = overhead["overhead_s"], overhead["idle_s"]["ours"]
    slowest = max(median(values) for values in overhead["help_cpu_s"].values())
    lines = [
        f"- Training processes {_spread(throughput['images_per_s'])} images/s. That is "
        f"{_percent(median(shares['avx2']), 0)} of the rate at which this machine could do the "
        f"multiplications in large matrix products with the same instructions (AVX2), and "
        f"{_percent(median(shares['free']), 0)} of the rate with its best ones. A worker's time: "
        f"{kinds}.",
        f"- {faster} as fast as one (n={len(scaling['epoch_s']['1 worker'])}).",
        "",
        _machine(throughput),
        "",
        f"- All stages of `dvc repro` take {_range(added, '.1f')} s, n={len(added)}, besides the "
        f"training loop and the detector, which adds {_range(overhead['detector_s'], '.1f')} s. "
        f"If nothing has changed, `dvc repro` takes {_range(idle, '.2f')} s: "
        f"{_range(overhead['idle_ratio'], '.2f')} times as long as in a repository with one stage.",
        f"- Each command shows its `--help` within {slowest:.2f} s of processor time.",
        f"- Writing a checkpoint takes {_percent(overhead['checkpoint_share'], 2)} of the time of "
        f"an epoch. `train` needs at most {overhead['peak_memory_mb']['train']} MB.",
        "",
        _machine(overhead),
    ]
    return "\n".join(lines)


def gpu() -> str:
    throughput, trained = measure.load("throughput-cuda"), measure.load("accuracy")
    kinds, shares = throughput["time_by_kind"], throughput["share_of_limit"]["free"]
    full, half = (trained[name]["train_s"] for name in ("cuda", "cuda-bfloat16"))
    return (
        f"- The default recipe trains in {_range(full, '.1f')} s, in bfloat16 in "
        f"{_range(half, '.1f')} s, n={len(full)}.\n"
        f"- In float32, training processes {_spread(throughput['images_per_s'])} images/s, start "
        f"included. That is {_percent(median(shares), 1)} of the rate at which this "
        f"GPU could do the multiplications in large matrix products. It spends "
        f"{_percent(kinds['waiting'], 0)} of the time waiting for the next operation, and "
        f"{_percent(kinds['convolutions and matrix products'], 0)} on convolutions and matrix "
        f"products, which are all small.\n\n"
        f"On one {throughput['machine']['gpu']}, torch {throughput['machine']['torch']}."
    )


def time_to_accuracy() -> str:
    results = measure.load("time_to_accuracy")
    rows = []
    for goal, ratio in results["ratio"].items():
        runs = results["runs"][goal]
        reached = sum(accuracy >= float(goal) for accuracy in runs["accuracy"])
        baseline = f"{results['baseline'][goal]:.0f} s"
        times = f"{ratio:.0f}"
        if goal in results["baseline_never_reached"]:
            baseline = f"not reached in {baseline}"
            times = f"more than {math.floor(ratio)}"
        ours = f"{results['ours'][goal]:.1f} s ({reached} of {len(runs['accuracy'])} runs reach it)"
        rows.append((_percent(float(goal), 1), ours, baseline, times))
    table = _table("test accuracy|here|PyTorch's example|ratio", rows)
    return f"{table}\n\n{_machine(results)}"


def gate_power() -> str:
    results = measure.load("gate_power")
    tables = {**results["exact"], "the gate, three runs on each side": results["three_runs"]}
    rows = []
    for name, table in tables.items():
        cells = [name]
        for loss in ("0", "10", "20", "30"):
            shares = [row[loss] for row in table.values() if loss in row]
            cells.append(f"{_percent(min(shares), 1)} to {_percent(max(shares), 1)}")
        rows.append(cells)
    lines = [_table("rule|blocked: no loss|loss of 10|loss of 20|loss of 30", rows)]
    lines.append("\nOf pairs of real models that differ only in the seed, the gate blocks:\n")
    for recipe, pairs in results["real"].items():
        lines.append(
            f"- {recipe} recipe: {_percent(pairs['blocked'], 1)} ± "
            f"{_percent(pairs['standard_error'], 1)} of {pairs['pairs']} pairs from "
            f"{pairs['runs']} trainings; on average, {pairs['mean_discordance']:.0f} images are "
            f"discordant."
        )
    return "\n".join(lines)


def gate_seeds() -> str:
    results = measure.load("gate_power")["seeds"]
    header = (
        "seeds of base / candidate|no loss|loss of 10|loss of 20|loss of 30|no loss: called better"
        "|no loss: nll called better or worse"
    )
    rows = []
    for sides in ("1/1", "1/2", "1/3", "2/2", "3/1", "2/3", "3/3", "5/5"):
        row = results["rates"][sides]
        shares = [*row["blocked"].values(), row["better"], row["marked"]]
        cells = ["untested" if share is None else _percent(share, 1) for share in shares]
        rows.append([sides.replace("/", " / "), *cells])
    return (
        f"{_table(header, rows)}\n\n"
        f"Each share is from {results['draws']:,} simulated pairs. Equal models differ in "
        f"{results['discordance']} images, as retrained ones do; a loss comes on top. All 25 "
        f"combinations of one to five seeds are in `benchmarks/results/gate_power.json`."
    )


def gate_fuzz() -> str:
    results = measure.load("gate_fuzz")
    return (
        f"`python -m benchmarks.gate_fuzz` broke {results['broken']:,} pairs of folders in one "
        f"place and damaged the bytes of {results['damaged']:,} more. Of these, {results['wrong']} "
        f"crashed, were refused without the file's name, or were accepted although they were "
        f"broken or their figures did not add up."
    )


def photos() -> str:
    results = measure.load("photos")
    ways = [("arrays", _percent(results["arrays"], 2), "")]
    for name, way in results["ways"].items():
        change = f"{100 * way['change']:+.2f} ± {100 * way['error']:.2f} points"
        ways.append((name.replace("_", " "), _percent(way["accuracy"], 2), change))
    others = []
    for name, other in results["others"].items():
        shares = [_percent(other[key], 1) for key in ("refused", "sure")]
        others.append((f"{name.replace('_', ' ')}, n={other['images']:,}", *shares))
    own = measure.load("own_photos")["surroundings"]
    return (
        f"{_table('the test images as|accuracy|change', ways)}\n\n"
        f"Each row: all {results['images']:,} test images. ± is the standard error of the paired "
        f"difference.\n\n"
        f"{_harder('MNIST on paper', results['surroundings'])}\n\n"
        f"Each row: the first {results['surroundings']['table']['images']:,} test images as ink on "
        f"paper, in the ways of [surroundings.py](../../benchmarks/surroundings.py).\n\n"
        f"{_harder('photos of people', own)}\n\n"
        f"Each row: {own['table']['images']} photos, scans and drawings of digits from public "
        f"repositories, in the same ways. They were in view when the reading was made.\n\n"
        f"{_table('not a digit|refused|read with a confidence of 0.9 or more', others)}"
    )


def _harder(title: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """A table of images as they are and in each surrounding."""
    keys = ("right", "refused", "sure_and_wrong")
    shares = [
        (name.replace("_", " "), *(_percent(row[key], 1) for key in keys))
        for name, row in rows.items()
    ]
    return _table(f"{title}|right|refused|wrong with 0.9 or more", shares)


def inference() -> str:
    results = measure.load("inference")
    npy, png, ray = results["npy"], results["png"], results["ray"]
    share = [100 * value for value in npy["share_of_onnxruntime"]]
    peaks = results["memory"]["peak_mb"]
    few, many = (median(peaks[images]) for images in ("10000", "1000000"))
    lines = [
        f"- From one `.npy` file of {npy['images']:,} images to Parquet, start-up included: "
        f"{_spread(npy['images_per_s'])} images/s. That is {_range(share, '.0f')} % of the rate of "
        f"ONNX Runtime alone ({npy['onnxruntime_at']}), "
        f"{_range(npy['times_torch'], '.1f')} times the rate of eager PyTorch "
        f"({npy['torch_at']}), both at their best batch size, and "
        f"{_range(npy['times_torch_one_by_one'], '.1f')} times the rate of eager PyTorch image by "
        f"image.",
        f"- From {png['files']:,} PNG files: {_spread(png['images_per_s'])} images/s. That is "
        f"{_range(png['ratio'], '.1f')} times the rate of one worker, start-up included, and "
        f"{_range(png['ratio_beyond_start'], '.1f')} times without start-up.",
        f"- On Ray, two workers are {_range(ray['ratio'], '.1f')} times as fast as one "
        f"(n={len(ray['ratio'])}, {ray['images']:,} images).",
        f"- Memory: {few:.0f} MB for 10,000 images, {many:.0f} MB for a million.",
    ]
    return "\n".join([*lines, "", _machine(results)])


def server() -> str:
    results = measure.load("server")
    share = results["share_of_constant"]
    rows = []
    for key, latency in results["latency_ms"].items():
        name, _, endpoint = key.rpartition(", ")
        if endpoint != "/constant":
            ours = endpoint == "ours"
            title = name if ours else f"{name}, bare FastAPI and eager PyTorch"
            rate = _spread(results["requests_per_s"][key])
            part = _percent(share[name], 0) if ours else ""
            rows.append((title, f"{median(latency):.2f} ms", rate, part))
    before, after = results["memory_mb"]
    header = (
        f"a request with|median latency, one client|requests/s, {results['clients']} clients"
        f"|share of the constant's rate"
    )
    return (
        f"{_table(header, rows)}\n\n"
        f"The constant is an endpoint of the same framework that reads the same body and always "
        f"returns the same answer. Memory: {before:.0f} MB after 5,000 requests, {after:.0f} MB "
        f"after 100,000 more.\n\n{_machine(results)}"
    )


def peers() -> str:
    results = measure.load("peers")
    versions = results["versions"]
    rows = [
        (
            f"{name} {versions.get(name, '')}".strip(),
            f"{median(each['median_ms_alone']):.2f} ms",
            _spread(each["requests_per_s"]),
            f"{median(each['median_ms']):.1f} ms",
            _range(each["p99_ms"], ".0f") + " ms",
            f"{median(each['cpu_ms']):.2f} ms",
        )
        for name, each in results["servers"].items()
    ]
    header = (
        f"server|median latency, one client|requests/s, {results['clients']} clients|median"
        f"|99 % (least to most of n={len(results['servers']['constant']['p99_ms'])})"
        f"|processor time a request"
    )
    return f"{_table(header, rows)}\n\n{_machine(results)}"


def sweep() -> str:
    results = measure.load("sweep")
    many, one = (results[name]["cpu_s"] for name in ("many", "one"))
    return (
        f"If all {results['runs']:,} runs of a sweep are complete, the command takes "
        f"{_range(many, '.1f')} s of processor time to find and compare them, and to draw the "
        f"picture; for 5 runs, {_range(one, '.1f')} s; n={len(many)} each. {_machine(results)}"
    )


def steps() -> str:
    """What `make rehearsal` does and runs."""
    parts = []
    for number, scene in enumerate(rehearsal.SCENES, 1):
        lines = "\n".join(rehearsal.shown(scene, 8000)).replace(".csv --", ".csv \\\n  --")
        parts.append(f"**{number}. {scene.title}.** {scene.text}\n\n```\n{lines}\n```")
    return "\n\n".join(parts)


def _machine(results: Mapping[str, Any]) -> str:
    return f"On {_on(results)}."


def _on(results: Mapping[str, Any]) -> str:
    """The machine on which times were measured; empty if none were."""
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


BLOCKS: dict[str, Callable[[], str]] = {
    "headlines": headlines,
    "accuracy": accuracy,
    "engine": engine,
    "gpu": gpu,
    "time to accuracy": time_to_accuracy,
    "gate power": gate_power,
    "gate seeds": gate_seeds,
    "gate fuzz": gate_fuzz,
    "inference": inference,
    "photos": photos,
    "server": server,
    "peers": peers,
    "sweep": sweep,
    "rehearsal": steps,
}


if __name__ == "__main__":
    errors.run(main)
