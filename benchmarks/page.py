"""docs/benchmarks.md and its charts from what lies in benchmarks/results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import charts
from benchmarks.peers import FAIRNESS, WARMED
from benchmarks.quality import LEVELS
from benchmarks.regression import load
from benchmarks.settings import Settings
from ear_teacher.files import write_atomically

PAGE = Path("docs/benchmarks.md")
IMAGES = Path("docs/images")
OURS = "Ear Teacher"
NOT_RUN = "Not measured yet."


def write(settings: Settings) -> None:
    """The page; that of a quick run stays beside its results."""
    quick = settings.folder.name == "quick"
    results = load(settings.folder)
    page, images = (settings.folder / "benchmarks.md", settings.folder) if quick else (PAGE, IMAGES)
    for part in {"quality", "longer"} & set(results):
        methods = results[part]["methods"]
        write_atomically(images / f"benchmarks_{part}.png", charts.quality(methods, LEVELS))
        points = [
            f"{name},{run},{point['cpu']},{point['wall']},{point['psnr']},{point['lpips'] or ''}"
            for name, method in methods.items()
            for run, its in enumerate(method["runs"])
            for point in its
        ]
        lines = ["method,run,cpu,wall,psnr,lpips", *points]
        write_atomically(settings.folder / f"{part}.csv", "\n".join(lines) + "\n")
    if "throughput" in results:
        write_atomically(images / "benchmarks_parts.png", charts.parts(results["throughput"]["parts"]))
    if "growth" in results:
        write_atomically(images / "benchmarks_growth.png", charts.growth(results["growth"]["by_pictures"]))
    write_atomically(page, text(results, quick, "" if quick else "images/"))


def text(results: dict[str, Any], quick: bool, images: str) -> str:
    """The whole page."""
    gflops = results.get("machine", {}).get("gflops_matmul")
    bodies = {
        "Time to quality": ("quality", lambda its: quality(its, images)),
        "Time to quality, given longer": ("longer", lambda its: longer(its, images)),
        "Throughput": ("throughput", lambda its: throughput(its, gflops, images)),
        "Inference": ("inference", inference),
        "Pipeline": ("pipeline", pipeline),
        "Growth": ("growth", lambda its: growth(its, images)),
    }
    lines = ["# Speed, scale and the peers", ""]
    if quick:
        lines += ["**A quick run: one run of each, smallest settings. It shows that all works, and no figure.**", ""]
    lines += [*machine(results.get("machine")), ""]
    for title, (part, body) in bodies.items():
        lines += [f"## {title}", "", *(body(results[part]) if part in results else [NOT_RUN]), ""]
    lines += ["## Wanted, and met", "", *wanted(results), ""]
    return "\n".join(lines)


def machine(of: dict[str, Any] | None) -> list[str]:
    if of is None:
        return [NOT_RUN]
    packages = ", ".join(f"{name} {version or 'not installed'}" for name, version in of["packages"].items())
    busy = " **Other work ran on it when this began.**" if (of["load_before"] or 0) > 0.5 * of["cores"] else ""
    return [
        f"{of['processor']}, {of['cores']} cores, {of['memory_gb']} GB, {of['system']}; {of['threads']} threads, "
        f"float32; matrices multiply at {of['gflops_matmul']:.0f} GFLOP/s, memory copies"
        f" at {of['gbytes_copy']:.1f} GB/s. "
        f"Python {of['python']}, {packages}.{busy}",
        "",
        "Written by `make bench`, `make bench-longer` and `make bench-growth`. Times differ from run to run and "
        "machine to machine, so nothing here is one of DVC's byte-reproducible outputs; ratios are what to read, and "
        "`make bench-check` compares them with stored ones.",
    ]


def quality(of: dict[str, Any], images: str) -> list[str]:
    methods = of["methods"]
    gone = f" Not installed here, so left out: {', '.join(of['missing'])}." if of["missing"] else ""
    return [
        f"{of['train_pictures']:,} pictures of {of['image_size']} px to train on, {of['pictures']} of {of['people']} "
        f"test people to measure; medians over {of['repeats']} runs in alternating order, {of['budget']:g} CPU-seconds "
        "each; ours and v0 get a number of steps, reckoned from a few timed beforehand (column CPU s: what they took). "
        "The clock counts all threads, from nothing: fitting the linear code and building the model are in it, "
        "reading pretrained weights too; measuring is not. A level counts as reached at the first checkpoint that "
        "has it, and checkpoints lie further apart the later they are. A dash: not in this budget; "
        f"the best column says how far it got. LPIPS is alex, at the end.{gone}",
        "",
        *levels(methods),
        "",
        f"![PSNR over CPU-seconds]({images}benchmarks_quality.png)",
        "",
        *speedups(of),
        "What each peer was given, and what it could not be:",
        "",
        *(f"- **{name}**: {words}" for name, words in FAIRNESS.items() if name in methods),
        f"- pythae at half the side: enlarging halved originals alone gives {of['enlargement_psnr']:.1f} dB.",
        "- All peers: our batches, mirroring, AdamW at 1e-3 (not tuned) with warm-up and cosine over the budget. A "
        "short budget is what a user has on two cores; given hours, a peer's level rises, and no table here says where "
        "it ends.",
        "- **v0** stands on EfficientNet-Lite0 in place of the author's DINOv2, narrower, as in params.yaml.",
    ]


def longer(of: dict[str, Any], images: str) -> list[str]:
    """One long run of each method."""
    return [
        f"Written by `make bench-longer`: the same, one run of each with {of['budget']:g} CPU-seconds.",
        "",
        *levels(of["methods"]),
        "",
        f"![PSNR over CPU-seconds]({images}benchmarks_longer.png)",
        "",
        *speedups(of)[:-1],
    ]


def levels(methods: dict[str, Any]) -> list[str]:
    """The table of methods: seconds to each level, and where it ended."""
    header = " | ".join(f"s to {level}" for level in LEVELS)
    rows = []
    for name, method in methods.items():
        cells = [number(seconds) for seconds in method["reached"].values()]
        end = method["end"]
        rows.append(
            f"| {name} | {' | '.join(cells)} | {method['best_psnr']:.2f} | {end['lpips']:.3f} | {end['cpu']:.0f} | "
            f"{end['wall']:.0f} | {end['step']:.0f} |"
        )
    return [
        f"| | {header} | best PSNR, dB | LPIPS | CPU s | wall s | steps |",
        f"| --- |{' ---: |' * (len(LEVELS) + 5)}",
        *rows,
    ]


def speedups(of: dict[str, Any]) -> list[str]:
    """How many times sooner than the fastest peer, for each level that one reaches; of none, how far they are. Then the
    same beside the peer that has our warm start, for levels with an LPIPS: the others are where both begin."""
    lines, methods = [], of["methods"]
    reached = methods[OURS]["reached"]
    peers = {name: method["reached"] for name, method in methods.items() if name in FAIRNESS and name != WARMED}
    for level, ours in reached.items():
        times = {name: its[level] for name, its in peers.items() if its[level]}
        if times and ours:
            name = min(times, key=times.__getitem__)
            lines.append(f"{level}: {times[name] / ours:.0f} times sooner than {name}, the fastest peer.")
    if not lines:
        lowest, ours = next(iter(reached.items()))
        own = f"; ours takes {ours:.1f} to {lowest}, {of['budget'] / ours:.0f} times less" if ours else ""
        lines.append(
            f"No peer without our warm start reaches any of these levels in {of['budget']:g} CPU-seconds{own}."
        )
    warmed = methods.get(WARMED, {}).get("reached", {})
    both = [level for level, (_, lpips) in LEVELS.items() if lpips and reached[level] and warmed.get(level)]
    lines += [f"{level}: {warmed[level] / reached[level]:.1f} times sooner than {WARMED}." for level in both]
    return [*lines, ""]


def throughput(of: dict[str, Any], gflops: float | None, images: str) -> list[str]:
    lines = [f"Pictures a second; a training step takes a batch of {of['batch']}. FLOPs: coding a picture and back. "
             "Evaluation: the same and every metric but VGG's. Sizes of code follow the picture where the network "
             "fixes them (diffusers); pythae has nets for 64 px alone.", "",
             "| px | | parameters | GFLOP | train | encode | decode | evaluate |",
             "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for side, models in of["sizes"].items():
        for name, its in models.items():
            lines.append(
                f"| {side} | {name} | {its['parameters'] / 1e6:.2f} M | {its['gflops']:.2f} | {its['train']:.1f} | "
                f"{its['encode']:.0f} | {its['decode']:.0f} | {its['evaluate']:.0f} |"
            )
    speed = of["evaluate"]
    lines += ["", f"Measuring every metric of the current model: {speed['alex']:.1f} pictures a second with alex, "
              f"{speed['alex and vgg']:.1f} with vgg and the author's VGG-L1 too.", "", "### Where a step goes", "",
              f"A step takes {of['parts']['step_ms']:.0f} ms. Each part is run by itself, forward and backward; what "
              "the parts leave or exceed is what runs between them, and caches.", "",
              "| part | ms | share | GFLOP | GFLOP/s | of the machine's |",
              "| --- | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
    listed = sorted(of["parts"]["parts"].items(), key=lambda item: -item[1]["ms"])
    for name, its in listed:
        rate = its["gflops"] / its["ms"] * 1000
        reach = f"{rate / gflops:.0%}" if gflops else ""
        lines.append(
            f"| {name} | {its['ms']:.1f} | {its['ms'] / of['parts']['step_ms']:.1%} | {its['gflops']:.1f} | "
            f"{rate:.0f} | "
            f"{reach} |"
        )
    lines += ["", f"![Parts of a step]({images}benchmarks_parts.png)", ""]
    if gflops:
        told = [
            f"{name} ({its['ms']:.0f} ms, of which its arithmetic alone needs {its['gflops'] / gflops * 1000:.0f} ms)"
            for name, its in listed[:3]
        ]
        lines.append(
            f"The largest costs: {'; '.join(told)}. The second figure is the limit of this machine, at the speed of "
            "its matrix products; what is above it is memory traffic, small convolutions and the work between them."
        )
    lines += ["", "### What made it fast", "",
              "Each way by itself, on a step's batch; the plain way is that of the libraries.", "",
              "| | before, ms | after, ms | times |", "| --- | ---: | ---: | ---: |"]  # fmt: skip
    for name, its in of["speedups"].items():
        before, after = its["before"], its["after"]
        lines.append(f"| {name} | {before:.2f} | {after:.2f} | {before / after:.1f} |")
    return lines


def inference(of: dict[str, Any]) -> list[str]:
    lines = [f"Pictures of {of['image_size']} px a second; the head of {of['points']} landmarks has random weights, "
             "which changes no time. Differences of onnxruntime from torch, of the largest value: "
             + ", ".join(f"{name} {value:.0e}" for name, value in of["largest_difference"].items()) + ".", "",
             "| | torch, 1 | torch, 32 | onnxruntime, 1 | onnxruntime, 32 |",
             "| --- | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for name, speeds in of["pictures_a_second"].items():
        cells = [f"{speeds[runtime][size]:.0f}" for runtime in ("torch", "onnxruntime") for size in ("1", "32")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def pipeline(of: dict[str, Any]) -> list[str]:
    lines = [f"`dvc repro` with nothing to do: {of['noop_seconds']:.1f} s.", ""]
    if of["stages"]:
        lines += ["| stage | wall s | CPU s | peak MB | |", "| --- | ---: | ---: | ---: | --- |"]
        for name, its in of["stages"].items():
            note = f"extrapolated from {its['steps_measured']} of {its['steps']} steps" if "steps" in its else ""
            lines.append(f"| {name} | {its['wall']:.1f} | {its['cpu']:.1f} | {its['memory_mb']:.0f} | {note} |")
        lines += [f"| all | {sum(its['wall'] for its in of['stages'].values()):.0f} | | | |", ""]
    lines += ["What a change of a param runs again. *Then* is what follows where the outputs before it differ, which "
              "DVC finds out on the way; seconds are those of both.", "",
              "| params | stages | then | seconds |", "| --- | --- | --- | ---: |"]  # fmt: skip
    for group in of["reruns"]:
        seconds = "" if group["seconds"] is None else f"{group['seconds']:.0f}"
        cells = [shortened(group[key]) for key in ("params", "direct", "follows")]
        lines.append(f"| {' | '.join(cells)} | {seconds} |")
    return lines


def shortened(names: list[str]) -> str:
    """A list in a cell: what shares its first part once."""
    groups: dict[str, list[str]] = {}
    for name in names:
        mark = "@" if "@" in name else "."
        head, _, tail = name.partition(mark)
        groups.setdefault(head + (mark if tail else ""), []).append(tail)
    return ", ".join(
        head + (f"{{{', '.join(tails)}}}" if len(tails) > 1 else tails[0]) for head, tails in groups.items()
    )


def growth(of: dict[str, Any], images: str) -> list[str]:
    lines = [f"Seconds (_s) and peak memory in MB (_mb), which is private: pages of mapped files are not in it. The "
             "pictures are the training pictures in turn, each time shifted and brightened a little. An epoch longer "
             f"than {of['steps']} steps is extrapolated from them (marked *). Exponent: k of ~n^k over the whole "
             "column, and between the two largest rows, where fixed costs weigh least. Prepare holds its table of the "
             "pictures in memory, a row each.", ""]  # fmt: skip
    for axis, rows in ((key.removeprefix("by_"), of[key]) for key in of if key.startswith("by_")):
        columns = [key for key in rows[0] if key not in (axis, "extrapolated")]
        lines += ["| " + " | ".join([axis, *columns]) + " |", "| ---: |" + " ---: |" * len(columns)]
        for row in rows:
            marks = {"epoch_s": "*" if row["extrapolated"] else ""}
            lines.append(
                f"| {row[axis]:,} | " + " | ".join(f"{row[key]:,.1f}{marks.get(key, '')}" for key in columns) + " |"
            )
        powers = [of["exponents"][axis][key] for key in columns]
        lines += ["| exponent | " + " | ".join(f"{its['all']:.2f}, {its['largest']:.2f}" for its in powers) + " |", ""]
    return [*lines, f"![Growth with the number of pictures]({images}benchmarks_growth.png)"]


def wanted(results: dict[str, Any]) -> list[str]:
    """The thresholds that were set for this project, each with its measurement."""
    lines = ["| wanted | measured | |", "| --- | ---: | --- |"]

    def row(words: str, measured: str, met: bool) -> None:
        lines.append(f"| {words} | {measured} | {'met' if met else '**not met**'} |")

    if parts := results.get("throughput", {}).get("parts"):
        share = parts["parts"]["data: read, convert, mirror"]["ms"] / parts["step_ms"]
        row("data loading at most 3 % of a step", f"{share:.1%}", share <= 0.03)
    if speed := results.get("throughput", {}).get("evaluate"):
        for nets, most in (("alex", 60), ("alex and vgg", 300)):
            seconds = 1000 / speed[nets]
            row(f"measuring 1,000 pictures with {nets} in at most {most} s", f"{seconds:.0f} s", seconds <= most)
    if "pipeline" in results:
        seconds = results["pipeline"]["noop_seconds"]
        row("`dvc repro` with nothing to do in at most 5 s", f"{seconds:.1f} s", seconds <= 5)
    if "growth" in results:
        for column, its in results["growth"]["exponents"]["pictures"].items():
            if column.endswith("_mb"):
                power = its["largest"]
                row(
                    f"memory of {column.removesuffix('_mb')} flat in the number of pictures",
                    f"~n^{power:.2f}",
                    power < 0.1,
                )
    if its := results.get("longer", results.get("quality")):
        told = speedups(its)[:-1]
        lines += ["", f"Sooner than the fastest peer (wanted: 20 times, to any level above 26 dB that one reaches): "
                  f"{' '.join(told)}"]  # fmt: skip
    return lines


def number(value: float | None) -> str:
    return "—" if value is None else f"{value:.1f}"
