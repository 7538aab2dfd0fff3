"""The report and the playground in a real browser: Chromium from the system, driven by Playwright."""

import shutil
import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ear_teacher.report import latent
from ear_teacher.report.experiments import as_page, leaderboard
from ear_teacher.report.playground import load_models, load_shapes, serve
from tests.report.conftest import HOSTILE, Tiny
from tests.report.test_experiments import run, said

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)")


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--headless=new"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(page: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "index.html"
    path.write_text(page)
    return path.as_uri()


class Watched:
    """A tab, and all it complained about or asked for."""

    def __init__(self, browser, address: str, **options) -> None:
        self.troubles: list[str] = []
        self.requests: list[str] = []
        self.context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        self.tab = self.context.new_page()
        self.tab.on("console", lambda m: self.troubles.append(m.text) if m.type in ("error", "warning") else None)
        self.tab.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.tab.on("dialog", lambda dialog: (self.troubles.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.goto(address)

    def outside(self) -> list[str]:
        return [url for url in self.requests[1:] if not url.startswith(("data:", "blob:"))]

    def split(self) -> int:
        return int(self.tab.locator("[data-handle]").get_attribute("aria-valuenow"))


@pytest.fixture
def report(browser, address: str) -> Iterator[Watched]:
    watched = Watched(browser, address)
    yield watched
    watched.context.close()


def serious(tab) -> list[str]:
    found = axe.Axe().run(tab).response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html'][:120]}" for v in found if v["impact"] in ("serious", "critical")]


def test_the_report_loads_without_a_complaint_or_a_request(report: Watched) -> None:
    assert report.tab.locator("[data-thumbs] button").count() == 10
    assert report.tab.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).length") == 0
    assert report.troubles == []
    assert report.outside() == []


def test_the_divider_moves_by_mouse(report: Watched) -> None:
    stage = report.tab.locator("[data-stage]")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    assert report.split() == 50
    report.tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
    report.tab.mouse.down()
    report.tab.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 90, steps=4)
    report.tab.mouse.up()
    assert report.split() == 20
    handle = report.tab.locator("[data-handle]").bounding_box()
    assert handle["x"] + handle["width"] / 2 == pytest.approx(box["x"] + 0.2 * box["width"], abs=1.5)
    report.tab.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 90)
    assert report.split() == 20  # the button is up


def test_the_divider_moves_by_keyboard(report: Watched) -> None:
    handle = report.tab.locator("[data-handle]")
    handle.focus()
    for key, wanted in (
        ("ArrowLeft", 48),
        ("ArrowRight", 50),
        ("PageUp", 70),
        ("Home", 0),
        ("ArrowLeft", 0),
        ("End", 100),
    ):
        handle.press(key)
        assert report.split() == wanted
    assert "100 %" in handle.get_attribute("aria-valuetext")


def test_the_filters_filter(report: Watched) -> None:
    tab = report.tab
    thumbs, count = tab.locator("[data-thumbs] button"), tab.locator("[data-count]")
    everything = thumbs.count()
    for kind in ("worst", "best", "grey", "colour"):
        tab.locator(f"input[name=filter][value={kind}]").check()
        names = [image.get_attribute("alt") for image in thumbs.locator("img").all()]
        word = {"grey": "greyscale", "colour": "colour"}.get(kind, f"among the {kind}")
        assert names
        assert all(word in name for name in names)
        assert count.inner_text() == f"{len(names)} of {everything} ears"
    tab.locator("input[name=filter][value=all]").check()
    person = tab.locator("[data-person] option").nth(1).get_attribute("value")
    tab.locator("[data-person]").select_option(person)
    assert 0 < thumbs.count() < everything
    assert all(f"person {person}" in i.get_attribute("alt") for i in thumbs.locator("img").all())


def test_the_keyboard_chooses_ears_models_views_and_zoom(report: Watched) -> None:
    tab = report.tab
    caption = tab.locator("[data-caption]")
    tab.locator("[data-handle]").focus()
    first = caption.inner_text()
    tab.keyboard.press("n")
    assert caption.inner_text() != first
    tab.keyboard.press("p")
    assert caption.inner_text() == first
    tab.keyboard.press("1")
    assert "v0: PSNR" in caption.inner_text()
    assert tab.locator(".pane[aria-pressed=true] strong").inner_text() == "v0"
    tab.keyboard.press("+")
    assert tab.locator("[data-zoomed]").inner_text() == "1.5×"
    widths = tab.evaluate(
        "[...document.querySelectorAll('.zoomed:not([hidden])')].map(e => getComputedStyle(e).transform)"
    )
    assert len(set(widths)) == 1  # every picture is zoomed alike
    tab.keyboard.press("Shift+ArrowRight")
    assert tab.locator("[data-viewer]").evaluate("e => e.style.getPropertyValue('--fx')") == "55%"
    assert report.split() == 50
    tab.keyboard.press("e")
    assert tab.locator("[data-error]").is_visible()
    tab.keyboard.press("s")
    assert not tab.locator("[data-error]").is_visible()
    tab.locator(".pane[data-name=v1]").focus()
    tab.keyboard.press("n")
    assert tab.evaluate("document.activeElement.dataset.name") == "v1"  # focus stays where it was


def test_a_tap_on_a_small_picture_chooses_the_enlarged_part(browser, address: str) -> None:
    watched = Watched(browser, address, has_touch=True, viewport={"width": 390, "height": 844})
    window = watched.tab.locator(".pane .window").last
    window.scroll_into_view_if_needed()
    box = window.bounding_box()
    watched.tab.touchscreen.tap(box["x"] + 0.25 * box["width"], box["y"] + 0.75 * box["height"])
    read = "e => ['--fx', '--fy'].map(name => parseFloat(e.style.getPropertyValue(name)))"
    assert watched.tab.locator("[data-viewer]").evaluate(read) == pytest.approx([25, 75], abs=2)
    watched.context.close()


def test_the_error_map_shows_the_error(report: Watched, tiny: Tiny) -> None:
    tab = report.tab
    tab.locator("input[name=mode][value=error]").check()
    tab.wait_for_function("document.querySelector('[data-error]').width === 32")
    tab.wait_for_timeout(200)
    read = "e => [...e.getContext('2d').getImageData(0, 0, e.width, e.height).data]"
    drawn = np.array(tab.locator("[data-error]").evaluate(read), dtype=np.uint8).reshape(32, 32, 4)[..., :3]
    name = tab.locator("[data-caption]").inner_text().split(",")[0]
    row = int(tiny.data.index.index[tiny.data.index["file"] == name][0])
    from ear_teacher.pictures import error_map

    original = tiny.data.images[row]
    recon = latent.to_uint8(tiny.models["current"].reconstruct(latent.to_tensor(original[None])))[0]
    assert np.abs(drawn.astype(int) - error_map(original, recon).astype(int)).max() <= 8


def test_blinking_alternates_and_stands_still_where_motion_is_unwanted(browser, address: str) -> None:
    for motion, moves in (("no-preference", True), ("reduce", False)):
        watched = Watched(browser, address, reduced_motion=motion)
        watched.tab.locator("input[name=mode][value=blink]").check()
        label = watched.tab.locator("[data-right]")
        seen = set()
        for _ in range(12):
            seen.add(label.inner_text())
            watched.tab.wait_for_timeout(150)
        assert (len(seen) == 2) == moves
        watched.tab.keyboard.press("Tab")
        watched.context.close()


def test_a_hostile_name_runs_nothing(report: Watched) -> None:
    tab = report.tab
    for thumb in tab.locator("[data-thumbs] button").all():
        thumb.click()
        if HOSTILE in tab.locator("[data-caption]").inner_text():
            break
    else:
        pytest.fail("the ear with the hostile name is not shown")
    assert tab.locator("img[src=x]").count() == 0
    assert report.troubles == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious_and_the_page_fits_the_screen(browser, address: str, scheme: str, width: int) -> None:
    watched = Watched(browser, address, viewport={"width": width, "height": 844}, color_scheme=scheme)
    watched.tab.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    assert serious(watched.tab) == []
    assert watched.tab.evaluate("document.documentElement.scrollWidth") == width
    watched.context.close()


def test_the_page_of_experiments_loads_and_reads_well(browser, tmp_path: Path) -> None:
    text = as_page(leaderboard(said(("a", run(31.0, 1e-6)), ("b", run(29.0, 1e-4, 128)))))
    (tmp_path / "experiments.html").write_text(text)
    watched = Watched(browser, (tmp_path / "experiments.html").as_uri())
    assert watched.tab.locator("tbody tr").count() == 3
    assert (watched.troubles, watched.outside()) == ([], [])
    assert serious(watched.tab) == []
    watched.context.close()


def test_the_playground_takes_a_picture_marks_it_and_moves_its_code(
    browser, tiny: Tiny, landmarker_folder: Path, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    models = load_models(tiny.root / "models")
    found = {"current": latent.fit(latent.codes(tiny.models["current"], tiny.data.images, np.arange(20)), 2)}
    latent.save_directions(tmp_path / "d.safetensors", found)
    directions, landmarker = load_shapes(tmp_path / "d.safetensors", landmarker_folder, models)
    threading.Thread(target=serve, args=(models, directions, landmarker, "127.0.0.1", port), daemon=True).start()
    home = f"http://127.0.0.1:{port}/"
    for _ in range(100):
        try:
            urllib.request.urlopen(home, timeout=5).close()
            break
        except OSError:
            threading.Event().wait(0.05)
    watched = Watched(browser, home)
    tab = watched.tab
    assert serious(tab) == []
    (tmp_path / "note.png").write_text("no picture")
    tab.locator("[data-file]").set_input_files(tmp_path / "note.png")
    sync_api.expect(tab.locator("[data-alert]")).to_contain_text("not a picture in a known format")
    watched.troubles.clear()  # the browser notes the refusal
    Image.fromarray(tiny.data.images[40]).resize((64, 64)).save(tmp_path / "ear.jpg")
    tab.locator("[data-file]").set_input_files(tmp_path / "ear.jpg")
    sync_api.expect(tab.locator(".pane strong")).to_have_text(["original", "v0", "v1", "current"])
    titles = tab.locator("[data-points] title").evaluate_all("all => all.map(title => title.textContent)")
    assert titles == ["helix", "tragus", "lobe"]
    before = tab.locator("[data-over]").get_attribute("src")
    tab.locator("[data-sliders] input").first.fill("2")
    sync_api.expect(tab.locator(".pane strong").last).to_have_text("moved")
    assert tab.locator("[data-over]").get_attribute("src") != before
    assert serious(tab) == []
    tab.locator("[data-reset]").click()
    sync_api.expect(tab.locator(".pane strong").last).to_have_text("current")
    assert watched.troubles == []
    assert all(url.startswith((home, "data:", "blob:")) for url in watched.requests)
    watched.context.close()
