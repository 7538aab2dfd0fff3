"""Draw the screenshots of README.md and docs/report.md from a finished `make run` on synthetic ears.

    python tools/draw_screenshots.py [--out docs/images]

Chromium opens the report and a running playground, into which the first test ear is dropped.
"""

import argparse
import io
import json
import shutil
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from ear_teacher.data import PreparedData
from ear_teacher.report.playground import load_models, load_shapes, serve

REPOSITORY = Path(__file__).parents[1]
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
QUALITY = 82


def report(browser: Browser, out: Path) -> None:
    """The report: its first screen, the viewer, the latent space in the dark, and three screens of a phone."""
    address = (REPOSITORY / "reports/index.html").as_uri()
    page = browser.new_page(viewport=WIDE)
    page.goto(address)
    shoot(page, out / "report_compare.jpg")
    show(page, "#look")
    page.locator(".pane[data-name=current]").click()
    shoot(page, out / "report_look.jpg")
    page = browser.new_page(viewport=WIDE, color_scheme="dark")
    page.goto(address)
    show(page, "#latent")
    shoot(page, out / "report_latent.jpg")
    page = browser.new_page(viewport=PHONE)
    page.goto(address)
    screens = []
    for section in ("header", "#look", "#training"):
        show(page, section)
        screens.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
    gap = 16
    side_by_side = Image.new("RGB", (3 * PHONE["width"] + 2 * gap, PHONE["height"]), "#9aa3ab")
    for place, screen in enumerate(screens):
        side_by_side.paste(screen, (place * (PHONE["width"] + gap), 0))
    side_by_side.save(out / "report_phone.jpg", quality=QUALITY)


def playground(browser: Browser, out: Path) -> None:
    """The playground with an ear in it, its code moved along two directions."""
    data = PreparedData.load(REPOSITORY / "data/prepared")
    ear = io.BytesIO()
    Image.fromarray(np.array(data.images[data.rows("test")[0]])).save(ear, format="PNG")
    landmarker = REPOSITORY / "studies/teacher/landmarker"
    models = load_models(REPOSITORY / "models")
    directions, finder = load_shapes(
        REPOSITORY / "reports/directions.safetensors", landmarker if landmarker.is_dir() else None, models
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threading.Thread(target=serve, args=(models, directions, finder, "127.0.0.1", port), daemon=True).start()
    while True:  # until it listens
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            break
        time.sleep(0.1)
    page = browser.new_page(viewport=WIDE)
    page.goto(f"http://127.0.0.1:{port}/")
    page.locator("[data-file]").set_input_files({"name": "ear.png", "mimeType": "image/png", "buffer": ear.getvalue()})
    sliders = page.locator("[data-sliders] input")
    sliders.nth(1).fill("1.5")
    sliders.nth(3).fill("-1.5")
    page.locator(".pane strong", has_text="moved").wait_for()
    page.wait_for_timeout(2000)  # until the last move is answered
    shoot(page, out / "playground.jpg")


def show(page: Page, section: str) -> None:
    """Scroll to a section, all its pictures decoded."""
    page.evaluate("document.querySelectorAll('img').forEach(image => { image.loading = 'eager'; })")
    page.evaluate("Promise.all([...document.images].map(image => image.decode().catch(() => null)))")
    page.locator(section).first.evaluate("element => element.scrollIntoView({ behavior: 'instant' })")


def shoot(page: Page, path: Path) -> None:
    page.screenshot(path=path, type="jpeg", quality=QUALITY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs/images")
    out = parser.parse_args().out
    source = json.loads((REPOSITORY / "metrics/data.json").read_text())["source"]
    if source != "synthetic":
        raise SystemExit(f"The report shows people (data.source = {source}); screenshots are of synthetic ears only.")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("Chromium is not installed (apt-get install chromium).")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--headless=new"])
        report(browser, out)
        playground(browser, out)
        browser.close()


if __name__ == "__main__":
    main()
