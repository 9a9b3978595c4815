"""The whole loop in a browser: `parley serve`, a synthesised voice as the microphone, sound measured."""

from __future__ import annotations

import base64
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.web.conftest import LOSABLE, LOSE, live
from tests.web.stand_in import flite, write_wav

pytestmark = pytest.mark.browser
QUESTION = "What time do you open tomorrow?"
INTERRUPTION = "Wait a moment. What about next Sunday?"
# A microphone that says what the test hands it, when the test says so.
MICROPHONE = """
navigator.mediaDevices.getUserMedia = async () => {
  const context = new AudioContext({ sampleRate: 48000 });
  const out = context.createMediaStreamDestination();
  new ConstantSourceNode(context, { offset: 0 }).connect(out);
  window.speak = async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const source = context.createBufferSource();
    source.buffer = await context.decodeAudioData(bytes.buffer);
    source.connect(out);
    const over = new Promise((done) => { source.onended = done; });
    source.start();
    await over;
  };
  return out.stream;
};
"""


@dataclass
class Talk:
    """A page in a call with a real Parley."""

    page: Page
    folder: Path

    def say(self, text: str, *, wait: bool = True) -> None:
        path = self.folder / "line.wav"
        write_wav(path, flite(text, "rms"))
        spoken = base64.b64encode(path.read_bytes()).decode()
        said = "window.speak" if wait else "(line) => { window.speak(line); }"
        self.page.evaluate(said, spoken)

    def level_dbfs(self) -> int:
        return int(self.page.locator("#level-agent").get_attribute("aria-valuenow") or -60)

    def wait_for_sound(self, *, within_s: float) -> float:
        """Until the agent is audible; how long that took."""
        return self._wait(lambda: self.level_dbfs() > -40, within_s, "no sound came back")

    def wait_for_silence(self, *, within_s: float, lasting_s: float = 1.0) -> float:
        """Until the agent is silent and stays so; how long it took to fall silent."""
        quiet_since = None
        began = time.monotonic()
        while time.monotonic() - began < within_s + lasting_s:
            if self.level_dbfs() > -50:
                quiet_since = None
            elif quiet_since is None:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since >= lasting_s:
                return quiet_since - began
            self.page.wait_for_timeout(20)
        raise AssertionError(f"still speaking after {within_s} s")

    def _wait(self, happened: Callable[[], bool], within_s: float, otherwise: str) -> float:
        began = time.monotonic()
        while not happened():
            assert time.monotonic() - began < within_s, otherwise
            self.page.wait_for_timeout(20)
        return time.monotonic() - began


@pytest.mark.timeout(240)
def test_talking_interrupting_and_talking_again(
    parley: tuple[str, subprocess.Popen[str]], new_page: Callable[..., Page], tmp_path: Path
) -> None:
    url, process = parley
    page = new_page()
    page.add_init_script(MICROPHONE)
    live(page, url)
    talk = Talk(page, tmp_path)
    talk.wait_for_sound(within_s=10)  # the greeting
    expect(page.locator('[data-turn="0"] .reply')).to_contain_text("harbour office")
    expect(page.locator("body")).to_have_attribute("data-state", "listening", timeout=15_000)
    talk.wait_for_silence(within_s=5)

    talk.say(QUESTION)
    said = page.locator('[data-turn="1"] .said')
    expect(said).to_be_visible(timeout=15_000)
    talk.wait_for_sound(within_s=15)
    heard = set(said.inner_text().lower().strip("?.").split())
    assert len(heard & set(QUESTION.lower().strip("?").split())) >= 3, said.inner_text()
    expect(page.locator('[data-turn="1"] .heard').nth(5)).to_be_visible(timeout=15_000)
    expect(page.locator('[data-turn="1"] .steps li')).not_to_have_count(0)

    talk.say(INTERRUPTION, wait=False)
    talk.wait_for_silence(within_s=4)
    expect(page.locator('[data-turn="1"] del').first).to_contain_text("lighthouse keeper")

    expect(page.locator('[data-turn="2"] .said')).to_be_visible(timeout=15_000)
    talk.wait_for_sound(within_s=15)
    expect(page.locator('[data-turn="2"] .heard').nth(3)).to_be_visible(timeout=15_000)
    metrics = httpx.get(f"{url}metrics").text
    assert 'parley_offers_total{outcome="answered"} 1.0' in metrics
    interruptions = re.search(r"parley_interruptions_total (\d)", metrics)
    assert interruptions is not None
    assert int(interruptions[1]) >= 1

    process.send_signal(signal.SIGTERM)  # this call may finish, no other may begin
    talk.wait_for_sound(within_s=10)
    assert httpx.get(f"{url}readyz").status_code == 503
    assert process.poll() is None
    page.get_by_role("button", name="End", exact=True).click()
    expect(page.get_by_role("button", name="Talk again")).to_be_visible()
    assert process.wait(20) == 0


@pytest.mark.timeout(120)
def test_interrupting_through_what_the_browser_does_to_a_microphone(
    parley: tuple[str, subprocess.Popen[str]], new_page: Callable[..., Page], tmp_path: Path
) -> None:
    """What the browser does against echo does not make whoever talks over the agent somebody else."""
    url, _ = parley
    wav, silence = tmp_path / "caller.wav", np.zeros(5 * 48_000, np.float32)
    lines = [flite(text, "rms") for text in (QUESTION, INTERRUPTION)]
    write_wav(wav, np.concatenate([silence, lines[0], silence, lines[1], *[silence] * 12]))
    page = new_page(wav)
    live(page, url)
    answer = page.locator('[data-turn="1"]')
    expect(answer.locator(".heard").nth(5)).to_be_visible(timeout=20_000)
    expect(answer.locator("del").first).to_be_visible(timeout=15_000)
    Talk(page, tmp_path).wait_for_silence(within_s=2, lasting_s=0.5)


def test_a_lost_connection_is_taken_up_in_the_same_conversation(
    parley: tuple[str, subprocess.Popen[str]], new_page: Callable[..., Page]
) -> None:
    url, _ = parley
    page = new_page()
    page.add_init_script(MICROPHONE + LOSABLE)
    live(page, url)
    for turn, words in enumerate(("hello", "hello again"), 1):
        page.get_by_label("Type a message").fill(words)
        page.keyboard.press("Enter")
        expect(page.locator(f'[data-turn="{turn}"] .said')).to_contain_text(words)
        expect(page.locator(f'[data-turn="{turn}"] .heard').first).to_be_visible(timeout=15_000)
        assert page.evaluate(LOSE) == "reconnecting"
        expect(page.locator("body")).to_have_attribute("data-phase", "live", timeout=15_000)
    expect(page.locator(".exchange")).to_have_count(3)
    assert "parley_calls_active 1.0" in httpx.get(f"{url}metrics").text


def test_a_closed_tab_hangs_up_at_once(
    parley: tuple[str, subprocess.Popen[str]], new_page: Callable[..., Page]
) -> None:
    url, _ = parley
    page = new_page()
    page.add_init_script(MICROPHONE)
    live(page, url)
    assert "parley_calls_active 1.0" in httpx.get(f"{url}metrics").text
    page.close(run_before_unload=False)
    closed_s = time.monotonic()
    while "parley_calls_active 0.0" not in httpx.get(f"{url}metrics").text:
        assert time.monotonic() - closed_s < 5, "the call goes on without anybody in it"
        time.sleep(0.1)
