"""The commands `experiments` and `serve`: arguments in, files and lines out."""

from __future__ import annotations

import argparse
from pathlib import Path

from ear_teacher.files import write_atomically

Commands = argparse._SubParsersAction


def add_experiments(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add `ear-teacher experiments`."""
    parser = commands.add_parser(
        "experiments",
        help="the leaderboard of all DVC experiments",
        description="All measured DVC experiments of this project: weights, KL, PSNR, SSIM, LPIPS, and against v0.",
        epilog="example: ear-teacher experiments --by lpips --out experiments.csv --page reports/experiments.html",
    )
    parser.add_argument("--by", choices=["psnr", "ssim", "lpips", "kl"], default="psnr", help="which is best first")
    parser.add_argument("--out", type=Path, help="file for the table as CSV")
    parser.add_argument("--page", type=Path, help="file for the table and charts as a page")
    parser.set_defaults(command=_experiments)


def _experiments(chosen: argparse.Namespace) -> None:
    from ear_teacher.report.experiments import as_csv, as_page, as_text, ask_dvc, leaderboard

    table = leaderboard(ask_dvc(Path(".")), chosen.by)
    if chosen.out:
        write_atomically(chosen.out, as_csv(table))
    if chosen.page:
        write_atomically(chosen.page, as_page(table))
    print(as_text(table))
    if set(table["experiment"]) <= {"workspace"}:
        print("No measured experiment yet; `dvc exp run -S loss.kl_weight=1e-6` makes one.")


def add_serve(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add `ear-teacher serve`."""
    parser = commands.add_parser(
        "serve",
        help="drop a picture into the browser: reconstructions, landmarks, latent directions",
        description="A playground on this machine: drop an ear photo and see it through every model. Pictures stay in "
        "memory and are forgotten; nothing is written, nothing but the models is read.",
        epilog="example: ear-teacher serve --models models --directions reports/directions.safetensors",
    )
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of model folders (default models)")
    parser.add_argument("--directions", type=Path, help="latent directions, as stage report writes them")
    parser.add_argument("--landmarker", type=Path, help="folder of a trained landmarker")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1: this machine)")
    parser.add_argument("--port", type=int, default=8765, help="port (default 8765)")
    parser.set_defaults(command=_serve)


def _serve(chosen: argparse.Namespace) -> None:
    from ear_teacher.report.playground import load_models, load_shapes, serve

    models = load_models(chosen.models)
    directions, landmarker = load_shapes(chosen.directions, chosen.landmarker, models)
    print(f"Models: {', '.join(models)}. Open http://{chosen.host}:{chosen.port} (Ctrl-C ends).", flush=True)
    serve(models, directions, landmarker, chosen.host, chosen.port)
