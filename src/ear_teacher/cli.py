"""The command line: `ear-teacher <command> --help` shows an example of each.

A command reads its arguments, calls the library and writes what it returns; it computes nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError
from tqdm import tqdm

from ear_teacher.config import SyntheticConfig, UserError
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
    _add_synthesize(commands)
    return parser


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
