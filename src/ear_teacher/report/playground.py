"""The playground: a local page that puts a dropped picture through every model.

    app = create_app(load_models(Path("models")), {}, None, {"127.0.0.1:8765"})

It answers its own page only: requests under another name (DNS rebinding) or from another site are refused, a body must
be one picture of at most `LARGEST_UPLOAD` bytes, and no address names a file. Pictures are decoded by
`ear_teacher.images` and forgotten after the answer.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from ear_teacher.config import UserError
from ear_teacher.data import to_uint8
from ear_teacher.data.audit import is_grey
from ear_teacher.images import BadImage
from ear_teacher.metrics.quality import psnr
from ear_teacher.report.ears import viewer_data
from ear_teacher.report.latent import Directions, load_directions
from ear_teacher.report.page import render
from ear_teacher.report.pictures import webp
from ear_teacher.squares import read_square
from ear_teacher.teacher import EarTeacher
from ear_teacher.teacher.landmarker import Landmarker

try:
    import flask
    from werkzeug.exceptions import HTTPException
except ImportError:
    raise UserError("The playground needs Flask and waitress: pip install 'ear-teacher[serve]'.") from None

LARGEST_UPLOAD = 10_000_000
MOST_PIXELS = 40_000_000
FURTHEST = 4.0
"""Standard deviations that a slider goes at most."""
_EVERYWHERE = {"", "0.0.0.0", "::", "[::]", "*"}


def load_models(folder: Path) -> dict[str, EarTeacher]:
    """Every model in a folder of model folders, by name; or the folder itself, where it is one.

    Raises:
        UserError: there is none, or one is damaged.
    """
    if (folder / "config.json").is_file():
        return {folder.resolve().name: EarTeacher.load(folder, "cpu")}
    found = sorted(path.parent for path in folder.glob("*/config.json"))
    if not found:
        raise UserError(f"{folder}: holds no model; train one (`make run`) or name its folder with --models.")
    return {path.name: EarTeacher.load(path, "cpu") for path in found}


def load_shapes(
    directions: Path | None, landmarker: Path | None, models: Mapping[str, EarTeacher]
) -> tuple[dict[str, Directions], Landmarker | None]:
    """The latent directions that fit the models, and the landmarker, where they are named.

    Raises:
        UserError: a file is missing, damaged or of other models.
    """
    found = load_directions(directions) if directions else {}
    for name, code in found.items():
        if name in models:
            config = models[name].model.config
            if code.center.shape != (config.channels, config.grid, config.grid):
                raise UserError(f"{directions}: is not of the model {name}; `dvc repro report` writes it anew.")
    kept = {name: code for name, code in found.items() if name in models}
    return kept, Landmarker.load(landmarker, "cpu") if landmarker else None


def create_app(
    models: Mapping[str, EarTeacher],
    directions: Mapping[str, Directions],
    landmarker: Landmarker | None,
    hosts: set[str],
) -> flask.Flask:
    """The application.

    Args:
        models: by the name that the page shows.
        directions: of those models that have sliders.
        landmarker: finds landmarks; None: none are shown.
        hosts: the names, with port, under which it may be asked.
    """
    app = flask.Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_UPLOAD
    size = max(model.image_size for model in models.values())
    order = {name: name for name in sorted(models, key=lambda name: (name == "current", name))}
    page = render(
        "playground.html",
        scripts=("viewer.js", "playground.js"),
        connect="'self'",
        models=list(order),
        viewer=viewer_data([], order),
        sliders={name: len(code.deviations) for name, code in directions.items()},
        furthest=FURTHEST,
        landmarks=None if landmarker is None else {"names": landmarker.names, "facts": landmarker.facts},
        largest=LARGEST_UPLOAD,
    )
    busy = threading.Lock()  # one picture at a time: each takes all cores

    @app.before_request
    def only_from_here() -> None:
        request = flask.request
        if request.host.lower() not in hosts:
            flask.abort(403, "This name is not the playground's.")
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "none")
        if origin is not None and origin.lower() not in {f"http://{host}" for host in hosts}:
            flask.abort(403, "Requests from other sites are refused.")
        if request.method == "POST" and site not in ("same-origin", "none"):
            flask.abort(403, "Requests from other sites are refused.")

    @app.after_request
    def closed(response: flask.Response) -> flask.Response:
        response.headers.update(
            {
                "Cache-Control": "no-store",
                "Content-Security-Policy": "frame-ancestors 'none'",
                "Cross-Origin-Opener-Policy": "same-origin",
                "Cross-Origin-Resource-Policy": "same-origin",
                "Referrer-Policy": "no-referrer",
                "X-Content-Type-Options": "nosniff",
            }
        )
        return response

    @app.errorhandler(HTTPException)
    def told(error: HTTPException) -> tuple[flask.Response, int]:
        sentence = error.description or "This cannot be answered."
        if error.code == 413:
            sentence = f"The picture is larger than {LARGEST_UPLOAD / 1e6:.0f} MB; send a smaller one."
        return flask.jsonify(error=sentence), error.code or 500

    @app.get("/")
    def show() -> flask.Response:
        return flask.Response(page, mimetype="text/html")

    @app.post("/reconstruct")
    def reconstruct() -> flask.Response:
        square = _sent_picture(size)
        with busy:
            recons = {name: to_uint8(models[name].reconstruct(square))[0] for name in order}
            points = None if landmarker is None else (landmarker.predict(square)[0] + 0.5) / size
        ear = {
            "name": "your picture",
            "person": "",
            "grey": is_grey(square),
            "tag": "",
            "pictures": {"original": webp(square), **{name: webp(picture) for name, picture in recons.items()}},
            "quality": {name: {"psnr": _psnr(square, picture)} for name, picture in recons.items()},
        }
        return flask.jsonify(ear=ear, landmarks=None if points is None else points.tolist())

    @app.post("/move/<name>")
    def move(name: str) -> flask.Response:
        if name not in directions:
            flask.abort(404, "This model has no directions.")
        code = directions[name]
        steps = _steps(flask.request.args.get("steps", ""), len(code.deviations))
        square = _sent_picture(size)
        with busy, torch.no_grad():
            moved = code.moved(models[name].features(square).mean, steps)
            picture = to_uint8(models[name].model.decode(moved))[0]
        return flask.jsonify(picture=webp(picture))

    return app


def serve(
    models: Mapping[str, EarTeacher],
    directions: Mapping[str, Directions],
    landmarker: Landmarker | None,
    host: str,
    port: int,
) -> None:
    """Listen until interrupted.

    Raises:
        UserError: the address is every address, is not this machine's, or is in use.
    """
    if host in _EVERYWHERE:
        raise UserError(f"--host {host} would admit every network; name one address of this machine.")
    if not 1 <= port <= 65535:
        raise UserError(f"--port {port} is not allowed: give a number from 1 to 65535.")
    import waitress

    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise UserError(f"{host}:{port}: {(error.strerror or str(error)).lower()}; choose another --port.") from None
    app = create_app(models, directions, landmarker, allowed_hosts(host, port))
    waitress.serve(app, host=host, port=port, threads=4, ident=None, _quiet=True, max_request_body_size=LARGEST_UPLOAD)


def allowed_hosts(host: str, port: int) -> set[str]:
    """The names of this server: the address it listens on, and for the loopback its usual names."""
    names = {"127.0.0.1", "localhost", "[::1]"} if host in ("127.0.0.1", "localhost", "::1") else {host.lower()}
    return {f"{name}:{port}" for name in names}


def _sent_picture(size: int) -> np.ndarray:
    """The body of the request as a square, uint8 (size, size, 3)."""
    kind = flask.request.mimetype
    if not kind.startswith("image/"):
        flask.abort(415, "Send one picture (JPEG, PNG, WebP, ...).")
    try:
        return read_square(flask.request.get_data(cache=False), size, max_pixels=MOST_PIXELS)
    except BadImage as error:
        flask.abort(422, f"This picture cannot be used: {error.reason}.")


def _steps(text: str, count: int) -> torch.Tensor:
    try:
        steps = [float(part) for part in text.split(",")]
    except ValueError:
        steps = []
    if len(steps) != count or not all(-FURTHEST <= step <= FURTHEST for step in steps):  # NaN fails as well
        flask.abort(400, f"Give {count} numbers from -{FURTHEST:g} to {FURTHEST:g}.")
    return torch.tensor([steps])


def _psnr(original: np.ndarray, recon: np.ndarray) -> float:
    pair = [torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255 for picture in (original, recon)]
    return round(float(psnr(*pair)[0]), 1)
