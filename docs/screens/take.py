"""Takes the pictures in this folder: a real call with a running `parley serve`, in Chromium.

    parley serve &
    python -m docs.screens.take http://localhost:7860/

The caller is flite's voice; nothing on the page is posed.
"""

from __future__ import annotations

import base64
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright

from tests.web.conftest import live
from tests.web.stand_in import flite, write_wav
from tests.web.test_talk import MICROPHONE

FOLDER = Path(__file__).parent
DESKTOP = {"width": 1360, "height": 860}
PHONE = {"width": 390, "height": 844}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": DESKTOP, "color_scheme": "light"},
    "dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light", "device_scale_factor": 2},
}


def spoken(text: str) -> str:
    """A line as the test microphone takes it."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        write_wav(Path(file.name), flite(text, "slt"))
        return base64.b64encode(Path(file.name).read_bytes()).decode()


def hold(page: Page, url: str, look: str, lines: list[str]) -> None:
    """Hold one conversation and take its pictures."""
    state = page.locator("body")

    def wait_for(wanted: str) -> None:
        expect(state).to_have_attribute("data-state", wanted, timeout=30_000)

    def say(line: str) -> None:
        page.evaluate("(line) => { window.speak(line); }", line)

    page.add_init_script("localStorage.setItem('parley.persona', 'restaurant')")
    page.add_init_script(MICROPHONE)
    page.goto(url)
    page.wait_for_selector("#voice option", state="attached")
    if look == "light":
        page.screenshot(path=FOLDER / "start.png")
    live(page, url)
    wait_for("speaking")
    wait_for("listening")
    say(lines[0])
    wait_for("speaking")
    wait_for("listening")
    page.wait_for_timeout(500)
    say(lines[1])
    wait_for("speaking")
    page.wait_for_timeout(1700)
    say(lines[2])
    wait_for("listening")
    wait_for("speaking")
    page.wait_for_timeout(1600)
    page.screenshot(path=FOLDER / f"call-{look}.png")
    page.close()


def main() -> None:
    """Take all of them."""
    lines = ["What are your opening hours?", "What is on the menu?"]
    lines = [spoken(line) for line in [*lines, "I would like to book a table please."]]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
        )
        for look, options in LOOKS.items():
            hold(browser.new_context(**options).new_page(), sys.argv[1], look, lines)


if __name__ == "__main__":
    main()
