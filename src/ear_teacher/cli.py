"""The command line: `ear-teacher <command> --help` shows an example of each.

A command reads its arguments, calls the library and writes what it returns; it computes nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError
from tqdm import tqdm

from ear_teacher.commands.teacher import add_commands
from ear_teacher.config import VARIANTS, SyntheticConfig, UserError
from ear_teacher.files import write_atomically
from ear_teacher.report.commands import add_experiments, add_serve
from ear_teacher.stage import run


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `ear-teacher`. A user's mistake ends in one sentence and exit code 1."""
    chosen = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = chosen.command
    run(lambda: command(chosen))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ear-teacher", description="Forecast, train and diagnose image VAEs on ear photos."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_forecast(commands)
    _add_diagnose(commands)
    _add_synthesize(commands)
    add_commands(commands)
    add_experiments(commands)
    add_serve(commands)
    return parser


def _add_forecast(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "forecast",
        help="say before training what a KL weight and a code size can give on your pictures",
        description="Rate and distortion of the best linear-Gaussian VAE on your pictures; needs no model and no GPU.",
        epilog="example: ear-teacher forecast --images photos --latent-dim 512,1024 --kl-weight 1e-4,1e-5",
    )
    parser.add_argument("--images", type=Path, required=True, help="folder of pictures, or an .npy file")
    parser.add_argument("--image-size", type=int, default=128, help="side in pixels (default 128)")
    parser.add_argument("--latent-dim", default="512,1024", help="floats of the code (default 512,1024)")
    parser.add_argument("--kl-weight", default="1e-3,1e-4,1e-5,1e-6,1e-7", help="weights (default 1e-3 to 1e-7)")
    parser.add_argument("--npy-range", default="auto", help="values of a float array: 0..1, 0..255 or -1..1")
    parser.add_argument("--out", type=Path, help="file for the forecast as JSON")
    parser.set_defaults(command=_forecast)


def _forecast(chosen: argparse.Namespace) -> None:
    from ear_teacher.forecast_report import forecast_pictures, table
    from ear_teacher.photos import read_bare

    sizes = [int(size) for size in _numbers(chosen.latent_dim, "--latent-dim", whole=True)]
    weights = _numbers(chosen.kl_weight, "--kl-weight")
    with read_bare(chosen.images, chosen.image_size, chosen.npy_range) as (images, skipped):
        content = forecast_pictures(images, sizes, weights)
    if chosen.out:
        write_atomically(chosen.out, json.dumps(content, indent=2) + "\n")
    print(f"{content['pictures']} pictures of {content['image_size']} px, forecast for {content['held_out']} held out.")
    for reason, count in skipped.most_common():
        print(f"Left out: {count} ({reason}).")
    print(f"\n{table(content)}", end="")


def _numbers(text: str, option: str, whole: bool = False) -> list[float]:
    """Comma-separated numbers above 0."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(0 < n < 1e6 and (not whole or n == int(n)) for n in numbers):
        kind = "whole numbers" if whole else "numbers"
        raise UserError(f"{option} {text} is not allowed: give {kind} above 0, with commas between them.")
    return numbers


def _add_diagnose(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "diagnose",
        help="say by measurement what is wrong with a trained model, and what to run next",
        description="What is wrong with a trained model: ranked causes, the evidence, and the next command. Only the "
        "model and pictures it was not trained on are needed; the more of the rest is given, the more is measured.",
        epilog="example: ear-teacher diagnose --model models/current --images photos/new --train-images photos/train "
        "--history plots/train/current/history.csv --out diagnosis",
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of a model, such as models/current")
    parser.add_argument("--images", type=Path, required=True, help="pictures it was not trained on: a folder or .npy")
    parser.add_argument("--train-images", type=Path, help="pictures it was trained on: a folder or .npy")
    parser.add_argument("--history", type=Path, help="its history.csv")
    parser.add_argument("--params", type=Path, help="the params.yaml it was trained with")
    parser.add_argument("--variant", choices=VARIANTS, default="current", help="which of the params' models it is")
    parser.add_argument("--alexnet", type=Path, help="alexnet.safetensors, for LPIPS and the perceptual term")
    parser.add_argument("--psnr", type=float, default=27.0, help="wanted PSNR in dB (default 27)")
    parser.add_argument("--npy-range", default="auto", help="values of a float array: 0..1, 0..255 or -1..1")
    parser.add_argument("--out", type=Path, help="folder to make for the page, its chart and tables, and the JSON")
    parser.set_defaults(command=_diagnose)


def _diagnose(chosen: argparse.Namespace) -> None:
    from ear_teacher.diagnosis.files import diagnose_files, write_report
    from ear_teacher.diagnosis.page import section

    if not 5 < chosen.psnr <= 60:
        raise UserError(f"--psnr {chosen.psnr:g} is not allowed: give a number of dB above 5 and up to 60.")
    if chosen.out and chosen.out.exists() and (not chosen.out.is_dir() or any(chosen.out.iterdir())):
        raise UserError(
            f"{chosen.out} already exists and is not an empty folder; choose another one or remove it first."
        )
    diagnosis = diagnose_files(
        chosen.model,
        chosen.images,
        train_images=chosen.train_images,
        history=chosen.history,
        params=chosen.params,
        variant=chosen.variant,
        alexnet=chosen.alexnet,
        wish=chosen.psnr,
        npy_range=chosen.npy_range,
    )
    name = str(chosen.model)
    print(write_report(diagnosis, name, chosen.out) if chosen.out else section(name, diagnosis), end="")


def _add_synthesize(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "synthesize",
        help="render synthetic ears with landmarks, regions and identity",
        description="Render synthetic ear photos with exact landmarks, region masks and identity into a new folder.",
        epilog="example: ear-teacher synthesize --n 2000 --size 128 --seed 0 --out ears",
    )
    parser.add_argument("--n", type=int, default=2000, help="pictures (default 2000)")
    parser.add_argument("--images-per-person", type=int, default=10, help="pictures of each person (default 10)")
    parser.add_argument("--size", type=int, default=128, help="side in pixels, 64 to 512 (default 128)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other people (default 0)")
    parser.add_argument("--grey", type=float, default=0.25, help="share of greyscale pictures (default 0.25)")
    parser.add_argument(
        "--appearance",
        choices=["person", "image"],
        default="image",
        help="skin, hair and marks drawn once for each person, or anew for each picture (default)",
    )
    parser.add_argument(
        "--occluders", type=float, default=0.1, help="share with earring, lock of hair or glasses (default 0.1)"
    )
    parser.add_argument("--workers", type=int, default=0, help="processes (default: one for each core)")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.set_defaults(command=_synthesize)


def _synthesize(chosen: argparse.Namespace) -> None:
    from ear_teacher.synthetic.export import write_dataset

    if chosen.n < 1 or chosen.workers < 0 or not 64 <= chosen.size <= 512:
        raise UserError("--n must be at least 1, --workers at least 0, and --size from 64 to 512.")
    try:
        config = SyntheticConfig(
            people=-(-chosen.n // max(chosen.images_per_person, 1)),
            images_per_person=chosen.images_per_person,
            seed=chosen.seed,
            grey_fraction=chosen.grey,
            appearance=chosen.appearance,
            occluder_fraction=chosen.occluders,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{first['loc'][0]} = {first['input']} is not allowed: {first['msg']}.") from None
    with tqdm(total=chosen.n, desc="synthesize", unit="image", file=sys.stderr, delay=0.5) as bar:
        write_dataset(config, chosen.size, chosen.out, lambda _: bar.update(), chosen.workers, limit=chosen.n)
