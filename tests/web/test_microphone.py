"""The page and the caller's microphone: refused, late, remembered, unplugged."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.web.conftest import LOSABLE, StandIn, live, no_page_errors

pytestmark = pytest.mark.browser
# Devices that are hidden until a microphone was allowed.
HIDDEN_DEVICES = """
window.devices = navigator.mediaDevices.enumerateDevices.bind(navigator.mediaDevices);
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.enumerateDevices = async () => (window.lent ? devices() : []);
navigator.mediaDevices.getUserMedia = async (wanted) => {
  const stream = await ask(wanted);
  window.lent = stream.getAudioTracks()[0];
  return stream;
};
"""
LAST_MICROPHONE = """
devices().then((all) => all.findLast((one) => one.kind === 'audioinput').deviceId)
"""


def test_a_refused_microphone_is_explained(
    stand_in: StandIn, new_page: Callable[..., Page]
) -> None:
    url, _ = stand_in
    page = new_page(allow=False)
    page.goto(url)
    page.get_by_role("button", name="Talk").click()
    expect(page.get_by_role("alert")).to_contain_text("The browser kept the microphone to itself.")
    page.get_by_role("alert").get_by_role("button", name="Type instead").click()
    expect(page.locator("body")).to_have_attribute("data-phase", "live")


def test_end_takes_back_a_call_that_waits_for_the_microphone(
    stand_in: StandIn, new_page: Callable[..., Page]
) -> None:
    url, calls = stand_in
    page = new_page(bypass_csp=True)  # so that the test may wait for JavaScript
    page.add_init_script(
        "const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);"
        "const allowed = new Promise((allow) => { window.allow = allow; });"
        "navigator.mediaDevices.getUserMedia = async (wanted) => {"
        "  await allowed; window.late = (await ask(wanted)); return window.late; };"
    )
    with no_page_errors(page):
        page.goto(url)
        expect(page.get_by_label("Harbour office")).to_be_checked()
        page.get_by_role("button", name="Talk").click()
        page.get_by_role("button", name="End", exact=True).click()
        expect(page.locator("body")).to_have_attribute("data-phase", "idle")
        page.evaluate("allow()")
        page.wait_for_function("window.late?.getAudioTracks()[0].readyState === 'ended'")
    assert page.locator("body").get_attribute("data-phase") == "idle"
    assert not calls.calls


def test_a_microphone_chosen_in_an_earlier_visit_is_used_at_once(
    stand_in: StandIn, new_page: Callable[..., Page]
) -> None:
    url, _ = stand_in
    page = new_page(permissions=["microphone"])
    page.add_init_script(HIDDEN_DEVICES)
    page.goto(url)
    chosen = page.evaluate(LAST_MICROPHONE)
    page.evaluate("(id) => localStorage.setItem('parley.microphone', id)", chosen)
    live(page, url)
    assert page.evaluate("lent.getSettings().deviceId") == chosen
    expect(page.locator("#microphone")).to_have_value(chosen)


@pytest.mark.parametrize(
    ("others", "told"),
    [(True, "The system’s choice took its place."), (False, "No microphone was found.")],
)
def test_an_unplugged_microphone_is_replaced(
    stand_in: StandIn, new_page: Callable[..., Page], others: bool, told: str
) -> None:
    url, _ = stand_in
    page = new_page(bypass_csp=True)  # so that the test may wait for JavaScript
    page.add_init_script(LOSABLE)
    with no_page_errors(page):
        live(page, url)
        if not others:
            page.evaluate(
                "() => { navigator.mediaDevices.getUserMedia = async () => {"
                "  throw new DOMException('', 'NotFoundError'); } }"
            )
        page.evaluate(
            "window.sender = pcs[0].getSenders()[0]; window.unplugged = sender.track;"
            "unplugged.stop(); unplugged.dispatchEvent(new Event('ended'))"
        )
        expect(page.get_by_role("alert")).to_contain_text(told)
        page.wait_for_function("sender.track !== unplugged && sender.track.readyState === 'live'")
    assert page.locator("body").get_attribute("data-phase") == "live"
