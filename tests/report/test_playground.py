"""The playground: it answers its own page with pictures, and refuses everything else in one sentence."""

import base64
import io
import socket
import threading
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from flask.testing import FlaskClient
from PIL import Image

from ear_teacher.cli import main
from ear_teacher.config import UserError
from ear_teacher.report import latent
from ear_teacher.report.playground import (
    LARGEST_UPLOAD,
    allowed_hosts,
    create_app,
    load_models,
    load_shapes,
    serve,
)
from ear_teacher.teacher.landmarker import Landmarker
from tests.report.conftest import Tiny

HERE = {"base_url": "http://127.0.0.1:8765"}


@pytest.fixture(scope="module")
def directions_file(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("directions") / "directions.safetensors"
    found = {
        name: latent.fit(latent.codes(model, tiny.data.images, np.arange(20)), 2) for name, model in tiny.models.items()
    }
    latent.save_directions(path, found)
    return path


@pytest.fixture(scope="module")
def client(tiny: Tiny, directions_file: Path, landmarker_folder: Path) -> FlaskClient:
    models = load_models(tiny.root / "models")
    directions, landmarker = load_shapes(directions_file, landmarker_folder, models)
    return create_app(models, directions, landmarker, allowed_hosts("127.0.0.1", 8765)).test_client()


@pytest.fixture(scope="module")
def ear(tiny: Tiny) -> bytes:
    return png(tiny.data.images[40])


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def pixels(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB"))


def send(client: FlaskClient, body: bytes, path: str = "/reconstruct", kind: str = "image/png", **headers: str):
    return client.post(path, data=body, content_type=kind, headers=headers, **HERE)


def test_a_picture_comes_back_through_every_model_and_with_its_landmarks(
    client: FlaskClient, tiny: Tiny, landmarker_folder: Path, ear: bytes
) -> None:
    found = send(client, ear).get_json()
    assert list(found["ear"]["quality"]) == sorted(found["ear"]["quality"])
    assert np.array_equal(pixels(found["ear"]["pictures"]["original"]), tiny.data.images[40])
    batch = latent.to_tensor(tiny.data.images[40:41])
    for name, model in tiny.models.items():
        wanted = latent.to_uint8(model.reconstruct(batch))[0].astype(int)
        assert np.abs(pixels(found["ear"]["pictures"][name]).astype(int) - wanted).max() <= 1
        error = ((pixels(found["ear"]["pictures"][name]) - tiny.data.images[40].astype(float)) ** 2).mean() / 255**2
        assert found["ear"]["quality"][name]["psnr"] == pytest.approx(-10 * np.log10(error), abs=0.06)
    points = Landmarker.load(landmarker_folder, "cpu").predict(tiny.data.images[40])[0]
    np.testing.assert_allclose(np.array(found["landmarks"]) * 32 - 0.5, points, atol=1e-3)
    assert '"names": ["helix", "tragus", "lobe"]' in client.get("/", **HERE).get_data(as_text=True)


def test_the_sliders_move_the_pictures_code(client: FlaskClient, tiny: Tiny, directions_file: Path, ear: bytes) -> None:
    still = pixels(send(client, ear, "/move/current?steps=0,0").get_json()["picture"])
    assert np.array_equal(still, pixels(send(client, ear).get_json()["ear"]["pictures"]["current"]))
    found = pixels(send(client, ear, "/move/current?steps=1.5,-2").get_json()["picture"])
    model, code = tiny.models["current"], latent.load_directions(directions_file)["current"]
    with torch.no_grad():
        codes = model.encode(latent.to_tensor(tiny.data.images[40:41])).mean
        steps = code.deviations * torch.tensor([1.5, -2.0])
        moved = codes + (steps.view(-1, 1, 1, 1) * code.directions).sum(0)
        wanted = latent.to_uint8(model.decode(moved))[0]
    assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 1


@pytest.mark.parametrize("steps", ["", "1", "1,2,3", "nan,0", "1e9,0", "a,b", "inf,0"])
def test_steps_outside_the_sliders_are_refused(client: FlaskClient, ear: bytes, steps: str) -> None:
    answer = send(client, ear, f"/move/current?steps={steps}")
    assert answer.status_code == 400
    assert "Give 2 numbers" in answer.get_json()["error"]


@pytest.mark.parametrize(
    ("body", "kind", "status", "says"),
    [
        (b"hello", "text/plain", 415, "Send one picture"),
        (b"hello", "application/json", 415, "Send one picture"),
        (b"hello", "image/png", 422, "not a picture in a known format"),
        (b"", "image/png", 422, "not a picture"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "image/png", 422, "cannot be used"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", 422, "not a picture"),
        (b"\0" * (LARGEST_UPLOAD + 1), "image/png", 413, "larger than 10 MB"),
    ],
)
def test_what_is_no_picture_is_refused(client: FlaskClient, body: bytes, kind: str, status: int, says: str) -> None:
    answer = send(client, body, kind=kind)
    assert answer.status_code == status
    assert says in answer.get_json()["error"]


def test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded(client: FlaskClient) -> None:
    buffer = io.BytesIO()
    Image.new("1", (6_400, 6_400)).save(buffer, format="PNG")
    answer = send(client, buffer.getvalue())
    assert answer.status_code == 422
    assert "40,000,000 pixels" in answer.get_json()["error"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:8766", "http://localhost"])
def test_other_sites_are_refused(client: FlaskClient, ear: bytes, origin: str) -> None:
    assert send(client, ear, Origin=origin).status_code == 403
    assert send(client, ear, **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert send(client, ear, Origin="http://localhost:8765").status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1", "127.0.0.1:80", "127.0.0.1.evil:8765"]
)
def test_other_names_are_refused_so_that_rebinding_a_name_gains_nothing(client: FlaskClient, host: str) -> None:
    assert client.get("/", base_url=f"http://{host}").status_code == 403


@pytest.mark.parametrize(
    "path", ["/params.yaml", "/static/report.css", "/../params.yaml", "/%2e%2e/etc/passwd", "/move/..%2f..?steps=0,0"]
)
def test_no_address_names_a_file(client: FlaskClient, ear: bytes, path: str) -> None:
    assert client.get(path, **HERE).status_code in (404, 405)
    assert send(client, ear, path).status_code in (404, 405)


def test_the_page_is_closed_to_others(client: FlaskClient) -> None:
    answer = client.get("/", **HERE)
    text = answer.get_data(as_text=True)
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "connect-src &#39;self&#39;" in text
    assert "https://" not in text


def test_a_running_server_answers_on_the_loopback_and_caps_an_upload_without_a_length(tiny: Tiny, ear: bytes) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    models = load_models(tiny.root / "models" / "current")
    threading.Thread(target=serve, args=(models, {}, None, "127.0.0.1", port), daemon=True).start()
    address = f"http://127.0.0.1:{port}/reconstruct"
    headers = {"Content-Type": "image/png"}

    def post(body):
        return urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=20)

    for _ in range(100):
        try:
            assert post(ear).status == 200
            break
        except urllib.error.URLError:
            threading.Event().wait(0.05)
    else:
        pytest.fail("the server did not start")
    with pytest.raises((urllib.error.HTTPError, ConnectionError, urllib.error.URLError)) as refused:
        post(b"\0" * 65536 for _ in range(200))  # chunked: no length is announced
    assert getattr(refused.value, "code", 413) == 413
    with pytest.raises(UserError, match="in use"):
        serve(models, {}, None, "127.0.0.1", port)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_listening_to_every_network_is_refused(tiny: Tiny, host: str) -> None:
    with pytest.raises(UserError, match="every network"):
        serve(load_models(tiny.root / "models" / "v0"), {}, None, host, 8765)


def test_a_folder_without_models_is_told_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--models", str(tmp_path)])
    assert "holds no model" in capsys.readouterr().err


def test_directions_of_another_model_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    other = latent.Directions(torch.zeros(1, 2, 2), torch.zeros(1, 1, 2, 2), torch.ones(1), 1.0)
    latent.save_directions(tmp_path / "d.safetensors", {"current": other})
    with pytest.raises(UserError, match="not of the model current"):
        load_shapes(tmp_path / "d.safetensors", None, load_models(tiny.root / "models"))
