"""PYTHONPATH=src python studies/teacher/page.py

What was measured of the teacher as docs/teacher.md; where a measurement has not been run, the page says so.
"""

import json
from pathlib import Path
from typing import Any

from subjects import HERE, WORDS

from ear_teacher.files import write_atomically
from ear_teacher.stage import run

METRICS = HERE / "metrics"
FEW = 100
"""Up to so many labels the teacher is to be better than every control."""
TARGETS = {"all": 0.015, 50: 0.03}
CONTROLS = ("pca", "hog", "klt", "random", "backbone", "v0", "v1")
CASES = {
    "default": "the default: EfficientNet-Lite0, frozen, beside the branch; alignment to it; descriptors of places",
    "no-descriptors": "no descriptors", "no-alignment": "no alignment",
    "backbone-learns": "the backbone's last blocks learn too",
    "plain": "reconstruction alone: no backbone, none of these",
    "plain-aligned": "no backbone inside, no descriptors, alignment",
    "plain-masked": "reconstruction alone, 30 % of the input's patches blanked",
}  # fmt: skip
"""What the page calls the cases."""
Found = dict[str, Any]


def main() -> None:
    found = {
        name: read(METRICS / f"{name}.json")
        for name in ("cases", "landmarks", "detect", "export", "distill", "retrieval")
    }
    found["probe"] = read(Path("metrics/probe.json"))
    write_atomically(Path("docs/teacher.md"), page(found))


def read(path: Path) -> Found | None:
    """What a measurement wrote; None where it has not been run."""
    return json.loads(path.read_text()) if path.exists() else None


def page(found: dict[str, Found | None]) -> str:
    """All sections."""
    parts: list[tuple[str, str, Any]] = [
        ("What the features are worth", "probe", probe_section),
        ("What makes it a better teacher?", "cases", cases_section),
        ("Is a low KL ideal for the teacher?", "cases", kl_section),
        ("Real people found again", "retrieval", retrieval_section),
        (
            "Landmarks",
            "landmarks",
            landmarks_section,
        ),
        (
            "The ear in a larger picture",
            "detect",
            detect_section,
        ),
        ("A student", "distill", distill_section),
        ("Export", "export", export_section),
    ]
    lines = [
        "# The teacher",
        "",
        "What the encoder is worth to others. All figures are those of people no training saw and nothing was "
        "chosen on; brackets are 95 % intervals that resample people. NME is the mean distance of the visible "
        "points from the truth as a share of the crop's side. `make teacher` runs all of it but the real photos, "
        "which `make retrieval PHOTOS=<EarVN1.0 folder>` does; each section names its own command.",
        "",
        *targets(found["probe"], found["landmarks"], found["retrieval"]),
    ]
    for title, key, write in parts:
        lines += ["", f"## {title}", ""]
        content = found[key]
        lines += ["No run yet."] if content is None else write(content)
    return "\n".join(lines).rstrip() + "\n"


def targets(probe: Found | None, landmarks: Found | None, retrieval: Found | None) -> list[str]:
    """Which aims are met by the probe's heads and by retrieval."""
    lines = ["## What was aimed at", "", "| aim | measured | met |", "| --- | --- | --- |"]
    if probe is None:
        lines.append("| landmarks of the frozen encoder, probe heads | no run yet | |")
    else:
        rows = probe["landmarks"]
        most = max(row["labels"] for row in rows)
        for name, wanted in TARGETS.items():
            budget = most if name == "all" else name
            best = least(rows, "current", budget)
            lines.append(
                f"| frozen current, probe heads, {budget} labels: NME ≤ {wanted} | {value(best['nme'])} "
                f"({best['features']}, {best['head']}) | {met(best['nme']['mean'] <= wanted)} |"
            )
        budgets = sorted({row["labels"] for row in rows if row["labels"] <= FEW})
        for budget in budgets:
            own = least(rows, "current", budget)
            rival = min((least(rows, name, budget) for name in CONTROLS), key=lambda row: row["nme"]["mean"])
            lines.append(
                f"| {budget} labels: better than every control | current {value(own['nme'])}, best control "
                f"{WORDS[rival['encoder']]} {value(rival['nme'])} | {met(own['nme']['mean'] < rival['nme']['mean'])} "
                "|"
            )
    if landmarks is None:
        lines.append("| the shipped head | no run yet | |")
    else:
        for case, wanted in (
            ("frozen-all", TARGETS["all"]),
            ("frozen-50", TARGETS[50]),
            ("landmarker", TARGETS["all"]),
        ):
            if case in landmarks:
                nme = landmarks[case]["test"]["nme"]
                lines.append(
                    f"| the shipped head, {case}: NME ≤ {wanted} | {value(nme)} | {met(nme['mean'] <= wanted)} |"
                )
        if {"frozen-50", "random-500"} <= set(landmarks):
            own, rival = (landmarks[case]["test"]["nme"] for case in ("frozen-50", "random-500"))
            lines.append(
                f"| frozen with 50 labels at least as good as random weights with 500 | {value(own)} against "
                f"{value(rival)} | {met(own['mean'] <= rival['mean'])} |"
            )
    if retrieval is None:
        lines.append("| people on real photos above HOG, PCA and the bare backbone | no run yet | |")
    else:
        rows = retrieval["runs"]
        best = {
            name: max((row for row in rows if row["encoder"] == name), key=lambda row: row["rank1"]["mean"])
            for name in ("current", "hog", "pca", "backbone")
        }
        shown = ", ".join(f"{words(name)} {percent(row['rank1']['mean'])}" for name, row in best.items())
        above = all(
            best["current"]["rank1"]["mean"] > best[name]["rank1"]["mean"] for name in ("hog", "pca", "backbone")
        )
        lines.append(f"| people on real photos above HOG, PCA and the bare backbone | rank-1: {shown} | {met(above)} |")
    return lines


def probe_section(probe: Found) -> list[str]:
    """Landmarks, pose and people, a row an encoder."""
    pictures, people = probe["pictures"], probe["people"]
    rows = probe["landmarks"]
    budgets = sorted({row["labels"] for row in rows if row["head"] == "ridge"})
    lines = [
        f"`PYTHONPATH=src python studies/teacher/probe.py`. Synthetic ears: {pictures['train']} pictures of "
        f"{people['train']} people to learn from, {pictures['val']} of {people['val']} to choose on, "
        f"{pictures['test']} of {people['test']} to measure on. Every encoder is frozen and treated alike: its "
        "*code* (the posterior mean; HOG's vector; the backbone's average-pooled last map; linear coordinates) and "
        "its *maps* (all spatial maps and the code where it is one, pooled to 8 x 8; for PCA the pixels themselves) "
        "are turned to their principal coordinates without labels; the head learns from the labelled pictures and "
        "their mirror images. Penalty, whitening and early stopping are chosen on validation people, who are all "
        "labelled. Three seeds: which pictures are labelled, the head's first weights.",
        "",
        f"### Landmarks: {rows[0]['points']} points, ridge",
        "",
        "NME with so many labelled pictures; the smaller the better.",
        "",
        "| | features | floats | " + " | ".join(str(budget) for budget in budgets) + " |",
        "| --- | --- |" + " ---: |" * (len(budgets) + 1),
    ]
    for name, features in pairs(rows):
        cells = [value(pick(rows, name, features, "ridge", budget)["nme"]) for budget in budgets]
        width = pick(rows, name, features, "ridge", budgets[0])["width"]
        lines.append(f"| {WORDS[name]} | {features} | {width:,} | {' | '.join(cells)} |")
    lines += ["", "![label efficiency](../plots/teacher/label_efficiency.png)", "",
              "The better of an encoder's two vectors at each number of labels, ridge; bands are intervals.",
              ""]  # fmt: skip
    slow = sorted({row["labels"] for row in rows if row["head"] == "mlp"})
    lines += [
        "### Landmarks, other heads",
        "",
        "*MLP*: one hidden layer of 256. *Soft-argmax*: three convolutions on the maps, a heatmap for each point.",
        "",
        "| | features | head | " + " | ".join(str(budget) for budget in slow) + " |",
        "| --- | --- | --- |" + " ---: |" * len(slow),
    ]
    for head in ("mlp", "soft-argmax"):
        for name, features in pairs([row for row in rows if row["head"] == head]):
            cells = [value(pick(rows, name, features, head, budget)["nme"]) for budget in slow]
            lines.append(f"| {WORDS[name]} | {features} | {head} | {' | '.join(cells)} |")
    most = budgets[-1]
    lines += [
        "",
        f"### The best head of each, {most} labels",
        "",
        "By crop side, by ear height, to the true curve of the point's group (a point that slides along costs "
        f"nothing), and for the {rows[0]['other_points']} named points.",
        "",
        "| | features, head | by crop | by ear height | to contour | named points |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name in dict.fromkeys(row["encoder"] for row in rows):
        best = least(rows, name, most)
        cells = [value(best[key]) for key in ("nme", "nme_height", "contour", "nme_other")]
        lines.append(f"| {WORDS[name]} | {best['features']}, {best['head']} | {' | '.join(cells)} |")
    pose = probe["pose"]
    shown = [budget for budget in budgets if budget in (50, 100, most)]
    lines += ["", "### Pose", "", "Mean absolute error of yaw, pitch and roll in degrees, ridge.", "",
              "| | features | " + " | ".join(str(budget) for budget in shown) + " | yaw | pitch | roll |",
              "| --- | --- |" + " ---: |" * (len(shown) + 3)]  # fmt: skip
    for name, features in pairs(pose):
        picked = [pick(pose, name, features, "ridge", budget) for budget in shown]
        cells = [value(row["degrees"], 2) for row in picked]
        cells += [f"{picked[-1][angle]:.2f}" for angle in ("yaw", "pitch", "roll")]
        lines.append(f"| {WORDS[name]} | {features} | {' | '.join(cells)} |")
    lines += ["", f"The three angles apart: with {most} labels.", "", "### Synthetic people found again", "",
              *people_words(probe["retrieval"][0]), "", *people_table(probe["retrieval"])]  # fmt: skip
    return lines


def cases_section(cases: Found) -> list[str]:
    """What each term of the teaching does for the features, and costs in sharpness."""
    shown = {name: case for name, case in cases.items() if not name.startswith("kl-")}
    first = shown["default"]
    budgets = sorted({row["labels"] for row in first["landmarks"]})
    lines = [
        "`PYTHONPATH=src python studies/teacher/cases.py <case>`: the current model trained "
        f"{first['steps']} steps with one change (`studies/teacher/params.yaml`), one seed; "
        "measured on the **validation** people, on whom the defaults were chosen. NME: the best head on the "
        "maps. Below each figure its change.",
        "",
        "| | PSNR, dB ↑ | SSIM ↑ | LPIPS alex ↓ | KL, nats | "
        + " | ".join(f"NME, {budget} labels ↓" for budget in budgets) + " | EER, maps ↓ |",
        "| --- |" + " ---: |" * (5 + len(budgets)),
    ]  # fmt: skip
    columns = [("psnr", 2), ("ssim", 4), ("lpips_alex", 4), ("kl", 0)]

    def cells(case: Found) -> list[float]:
        rows = [row for row in case["landmarks"] if row["features"] == "maps"]
        nme = [min(row["nme"]["mean"] for row in rows if row["labels"] == size) for size in budgets]
        rate = next(row["eer"]["value"] for row in case["people"] if row["features"] == "maps")
        return [case[key] for key, _ in columns] + nme + [rate]

    digits = [count for _, count in columns] + [4] * (len(budgets) + 1)
    base = cells(first)
    for name, case in shown.items():
        found = cells(case)
        told = [
            f"{now:,.{count}f}" + ("" if case is first else f"<br>{now - was:+,.{count}f}")
            for now, was, count in zip(found, base, digits, strict=True)
        ]
        lines.append(f"| {CASES.get(name, name)} | {' | '.join(told)} |")
    return lines


def kl_section(cases: Found) -> list[str]:
    """The sweep as a table, and what it says."""
    runs = sorted(
        (case for name, case in cases.items() if name == "default" or name.startswith("kl-")),
        key=lambda case: case["kl_weight"],
    )
    budgets = sorted({row["labels"] for row in runs[0]["landmarks"]})
    ways = [("code", "ridge"), ("maps", "ridge"), ("maps", "soft-argmax")]
    heads = [f"{features}, {head}, {budget}" for budget in budgets for features, head in ways]
    lines = [
        "`PYTHONPATH=src python studies/teacher/cases.py kl-<weight>`: the same model trained "
        f"{runs[0]['steps']} steps at each weight of the KL, else unchanged; validation people. PSNR "
        "of the mean; KL in nats; NME by features, head and labels; EER of synthetic people, code and maps.",
        "",
        "| kl_weight | KL | PSNR, dB | " + " | ".join(heads) + " | EER, code | EER, maps |",
        "| ---: | ---: | ---: |" + " ---: |" * (len(heads) + 2),
    ]
    for one in runs:
        cells = [
            value(next(row for row in one["landmarks"]
                       if (row["features"], row["head"], row["labels"]) == (features, head, budget))["nme"])
            for budget in budgets for features, head in ways
        ]  # fmt: skip
        rates = [percent(row["eer"]["value"]) for row in one["people"]]
        lines.append(
            f"| {one['kl_weight']:g} | {one['kl']:,.0f} | {one['psnr']:.2f} | {' | '.join(cells)} | "
            f"{' | '.join(rates)} |"
        )
    lines += ["", "![along kl_weight](../plots/teacher/kl_sweep.png)", "", *kl_answer(runs, budgets)]
    return lines


def kl_answer(runs: list[Found], budgets: list[int]) -> list[str]:
    """Yes or no, in the numbers: the lowest KL (highest weight) against the least error along the weights."""
    lines = []
    for budget in budgets:
        best: dict[float, Found] = {}
        for one in runs:
            rows = [row for row in one["landmarks"] if row["labels"] == budget]
            best[one["kl_weight"]] = min(rows, key=lambda row: row["nme"]["mean"])
        least_weight = min(best, key=lambda weight: best[weight]["nme"]["mean"])
        last, winner = best[max(best)]["nme"], best[least_weight]["nme"]
        apart = last["ci_low"] > winner["ci_high"]
        lines.append(
            f"- {budget} labels: the best head does best at {least_weight:g} ({value(winner)}); at {max(best):g}, "
            f"where the KL is lowest, it has {value(last)}: "
            + ("the lowest KL is the best." if least_weight == max(best)
               else "worse, and the intervals are apart." if apart else "no better, and the intervals overlap.")
        )  # fmt: skip
    low, high = runs[-1], runs[0]
    lines.append(
        f"- Rebuilding falls from {high['psnr']:.2f} dB at {high['kl_weight']:g} to "
        f"{low['psnr']:.2f} dB at {low['kl_weight']:g}."
    )
    wins = sum("the lowest KL is the best." in line for line in lines)
    verdict = "yes" if wins == len(budgets) else "no" if not wins else "only with some numbers of labels"
    return [f"**Is a low KL ideal for the teacher? By these runs: {verdict}.**", "", *lines, "",
            "One training a weight: differences of a few thousandths may be luck of the training."]  # fmt: skip


def retrieval_section(retrieval: Found) -> list[str]:
    """Photos of test people among one another."""
    rows = retrieval["runs"]
    return [
        "`make retrieval PHOTOS=<EarVN1.0 folder>`. *Current on photos* is the current model trained "
        f"{retrieval['steps']} steps on photos of the training people; its weights are not kept. *Current* is the "
        "one of synthetic ears.",
        "",
        *people_words(rows[0]),
        f"Duplicates and near-duplicates left out: {retrieval['left_out']}.",
        "",
        *people_table(rows),
    ]


def people_words(row: Found) -> list[str]:
    """What the table of people means."""
    return [
        f"{row['pictures']} pictures of {row['people']} people, each asked for its person among all others "
        f"({row['queries']} whose person has another picture); rank-1: the most similar one is right. Equal error "
        "rate over all pairs. Similarity is the cosine of principal coordinates, of the picture and its mirror "
        "image; how many, how far whitened, and whether the scatter within training people is whitened too, was "
        "chosen on validation people for each row."
    ]


def people_table(rows: list[Found]) -> list[str]:
    lines = ["| | features | rank-1 ↑ | equal error rate ↓ | chosen |", "| --- | --- | ---: | ---: | --- |"]
    for row in rows:
        rate = row["eer"]
        lines.append(
            f"| {words(row['encoder'], 'synthetic' in {r['encoder'] for r in rows})} | {row['features']} | "
            f"{percent(row['rank1']['mean'])} [{percent(row['rank1']['ci_low'])}, "
            f"{percent(row['rank1']['ci_high'])}] | {percent(rate['value'])} [{percent(rate['ci_low'])}, "
            f"{percent(rate['ci_high'])}] | {row['chosen']} |"
        )
    return lines


def distill_section(found: Found) -> list[str]:
    """The student with and without its teacher."""
    change = found["change_by_teacher"]
    effect = "the teacher helps." if change["mean"] < 0 else "the teacher harms."
    if change["ci_low"] <= 0 <= change["ci_high"]:
        effect = "not separable from none."
    imitated = ", ".join(f"{name} {share:.2f}" for name, share in found["imitated"].items())
    return [
        f"`PYTHONPATH=src python studies/teacher/distill.py`: {found['student']} with a soft-argmax head, "
        f"{found['parameters']:,} parameters, {found['pictures_seen']:,} synthetic pictures seen, moved and relit at "
        "random; it learns the landmarks' truth and, beside it, the frozen teacher's maps and code. ONNX equals it "
        f"within {found['onnx_difference']:.1e}. `python studies/teacher/distill.py --time` prints its milliseconds "
        "a picture.",
        "",
        f"| {found['points']} points | NME, test people |",
        "| --- | ---: |",
        f"| taught: truth and the teacher's features | {value(found['nme']['with'])} |",
        f"| the same student, truth alone | {value(found['nme']['without'])} |",
        "",
        f"Change by the teacher, picture by picture: {change['mean']:+.4f} [{change['ci_low']:+.4f}, "
        f"{change['ci_high']:+.4f}]; {effect} Share of the variance of the teacher's maps it tells: {imitated}.",
    ]  # fmt: skip


def landmarks_section(landmarks: Found) -> list[str]:
    """The shipped kind of head with few and all labels, and the fair opponent."""
    points = next(iter(landmarks.values()))["test"]["points"]
    lines = [
        "`python studies/teacher/landmarks.py <case>`, `landmarker.py`: the head that is shipped, trained on moved "
        f"and relit pictures, {points} points. *Frozen*: the current model as it is; *random*: the same encoder and "
        "head from random weights, all learning, learning rate chosen on validation people; *tuned*: the current "
        "model's weights as a start, all learning.",
        "",
        "| case | encoder | labels | NME | by ear height | to contour | seeds |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for name, case in landmarks.items():
        cells = [value(case["test"][key]) if key in case["test"] else "" for key in ("nme", "nme_height", "to_contour")]
        seeds = ", ".join(f"{nme:.4f}" for nme in case["nme_by_seed"])
        lines.append(f"| {name} | {case['encoder']} | {case['labels']:,} | {' | '.join(cells)} | {seeds} |")
    return lines


def detect_section(detect: Found) -> list[str]:
    """Boxes in synthetic scenes."""
    lines = [
        "`PYTHONPATH=src python studies/teacher/detect.py`: ears composed into larger synthetic scenes of their own "
        "people.",
        "",
        "| encoder | overlap (IoU) | above 0.5 | above 0.75 | scenes without an ear | told apart (AUC) |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in detect.items():
        auc = "" if row["score_auc"] is None else f"{row['score_auc']:.3f}"
        lines.append(
            f"| {name} | {value(row['iou'], 3)} | {percent(row['share_above_half'])} | "
            f"{percent(row['share_above_three_quarters'])} | {row['empty_scenes']} | {auc} |"
        )
    return lines


def export_section(export: Found) -> list[str]:
    """What exporting costs in quality."""
    lines = [
        "`PYTHONPATH=src python studies/teacher/export.py`: reconstructions of the ONNX graphs on "
        f"{export['pictures']} pictures of {export['people']} test people; *code*: root mean squared difference of "
        "the posterior mean from torch's over its deviation.",
        "",
        "| variant | file | MB | PSNR, dB | SSIM | code |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for variant, cases in export.items():
        if isinstance(cases, dict):
            for case, row in cases.items():
                code = row.get("typical", {}).get("mean")
                lines.append(
                    f"| {variant} | {case} | {row['bytes'] / 1e6:.1f} | {row['psnr']:.2f} | {row['ssim']:.3f} | "
                    f"{'' if code is None else format(code, 'g')} |"
                )
    return lines


def pairs(rows: list[Found]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row["encoder"], row["features"]) for row in rows))


def pick(rows: list[Found], encoder: str, features: str, head: str, budget: int) -> Found:
    wanted = (encoder, features, head, budget)
    return next(row for row in rows if (row["encoder"], row["features"], row["head"], row["labels"]) == wanted)


def least(rows: list[Found], encoder: str, budget: int) -> Found:
    return min(
        (row for row in rows if (row["encoder"], row["labels"]) == (encoder, budget)),
        key=lambda row: row["nme"]["mean"],
    )


def words(encoder: str, photos: bool = True) -> str:
    own = {"current": "current on photos", "synthetic": "current, of synthetic ears"} if photos else {}
    return own.get(encoder, WORDS.get(encoder, encoder))


def value(summary: Found, digits: int = 4) -> str:
    return f"{summary['mean']:.{digits}f} [{summary['ci_low']:.{digits}f}, {summary['ci_high']:.{digits}f}]"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def met(yes: bool) -> str:
    return "yes" if yes else "no"


if __name__ == "__main__":
    run(main)
