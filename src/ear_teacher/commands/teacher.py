"""Commands that use a trained model: `landmarks` and `export`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ear_teacher.config import UserError
from ear_teacher.files import whole_folder
from ear_teacher.images import SUFFIXES, BadImage, open_image
from ear_teacher.squares import Box


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both to the parser of `ear-teacher`."""
    _add_landmarks(commands)
    _add_export(commands)


def _add_landmarks(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "landmarks",
        help="find the landmarks of ears, as JSON and drawn",
        description="Find the landmarks of the ear in each picture; write landmarks.json and the pictures with the "
        "points drawn. A picture shows one ear, cut out closely; --boxes cuts it out of a larger picture.",
        epilog="example: ear-teacher landmarks ears/*.jpg --model studies/teacher/landmarker --out found",
    )
    parser.add_argument("images", type=Path, nargs="+", metavar="IMG", help="pictures, or folders of them")
    parser.add_argument("--model", type=Path, required=True, help="folder of a trained landmarker")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument(
        "--boxes", nargs="+", metavar="BOX", help="the ear in each picture: left,top,width,height in pixels, or all"
    )
    parser.set_defaults(command=_landmarks)


def _landmarks(chosen: argparse.Namespace) -> None:
    from ear_teacher.pictures import write_jpeg
    from ear_teacher.teacher.landmarker import Landmarker
    from ear_teacher.teacher.predictions import draw_points, drawing_names, write_predictions

    _refuse_full(chosen.out)
    files = _pictures(chosen.images)
    boxes = _boxes(chosen.boxes, len(files)) if chosen.boxes else None
    landmarker = Landmarker.load(chosen.model)
    points = landmarker.predict(files, boxes).numpy()
    sizes, drawings = [], drawing_names(files)
    with whole_folder(chosen.out) as folder:
        for file, found, drawing in zip(files, points, drawings, strict=True):
            try:
                image = open_image(file)
            except BadImage as error:
                raise UserError(f"{file}: {error.reason}; leave it out or give another.") from None
            sizes.append(image.size)
            write_jpeg(draw_points(image, found), folder / drawing)
        write_predictions(
            folder / "landmarks.json", landmarker.names, [str(file) for file in files], sizes, points, boxes, drawings
        )
    print(f"{len(landmarker.names)} points on each of {len(files)} pictures: {chosen.out / 'landmarks.json'}")


def _add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "export",
        help="write a trained model as ONNX, torch.export or safetensors",
        description="Write encoder and decoder of a trained model for use without this project, with export.json that "
        "says what each input and output is. What was written is run and compared with the model first.",
        epilog="example: ear-teacher export --model models/current --format onnx --precision float16 --out exported",
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of a model, such as models/current")
    parser.add_argument("--format", choices=["onnx", "torch", "safetensors"], default="onnx", help="default onnx")
    parser.add_argument(
        "--precision", choices=["float32", "float16", "int8"], default="float32", help="int8: onnx only"
    )
    parser.add_argument(
        "--images",
        type=Path,
        help="int8: pictures (folder or .npy) that fix the activations' ranges; faster, less exact",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.set_defaults(command=_export)


def _export(chosen: argparse.Namespace) -> None:
    from ear_teacher.teacher.export import export

    found = export(chosen.model, chosen.out, chosen.format, chosen.precision, chosen.images)
    worst = ", ".join(f"{name} {difference:g}" for name, difference in found["largest_difference"].items())
    print(f"{chosen.out}: {chosen.format}, {chosen.precision}. Largest difference from the model: {worst}.")


def _refuse_full(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} already exists and is not an empty folder; choose another one or remove it first.")


def _pictures(given: Sequence[Path]) -> list[Path]:
    """The files themselves, folders replaced by the pictures in them in order of name."""
    files: list[Path] = []
    for path in given:
        if not path.is_dir():
            files.append(path)
            continue
        inside = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        if not inside:
            raise UserError(f"{path}: holds no picture; give a folder of photos or the pictures themselves.")
        files += inside
    return files


def _boxes(texts: Sequence[str], pictures: int) -> list[Box | None]:
    boxes: list[Box | None] = []
    for text in texts:
        if text == "all":
            boxes.append(None)
            continue
        try:
            left, top, width, height = (float(part) for part in text.split(","))
        except ValueError:
            raise UserError(f"--boxes {text} is not allowed: give left,top,width,height in pixels, or all.") from None
        boxes.append((left, top, width, height))
    if len(boxes) != pictures:
        raise UserError(f"--boxes: {len(boxes)} boxes for {pictures} pictures; give one (or all) for each, in order.")
    return boxes
