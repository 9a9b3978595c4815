"""The page in headless Chromium, served by an agent whose every word is known beforehand."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Request, expect

from tests.web.catalogue import CATALOGUE
from tests.web.conftest import StandIn, free_port, live, no_page_errors, serving
from tests.web.stand_in import EXCHANGES, GREETING, PARTS, StandInCalls
from web.server import create_app
from web.settings import WebSettings

pytestmark = pytest.mark.browser
# Notes what was to be seen at any time, so that a slow test misses nothing that passed quickly.
WATCH = """
window.seen = {};
new MutationObserver(() => {
  if (!document.body) return;
  window.seen[document.body.dataset.state] = true;
  for (const look of ['now', 'partial']) if (document.querySelector('.' + look)) window.seen[look] = true;
}).observe(document, { subtree: true, attributes: true, childList: true });
"""
# Notes what the page sends, and keeps the channel so that a test may speak for the server.
CHANNEL = """
window.sent = [];
const create = RTCPeerConnection.prototype.createDataChannel;
RTCPeerConnection.prototype.createDataChannel = function (...about) {
  window.channel = create.apply(this, about);
  const send = channel.send.bind(channel);
  channel.send = (text) => { sent.push(text); send(text); };
  return channel;
};
"""
COMPOSED_ESCAPE = """
document.getElementById('text').dispatchEvent(
  new KeyboardEvent('keydown', { key: 'Escape', isComposing: true, bubbles: true }));
"""
# Offers whose answers wait until the test lets them in.
LATE_ANSWERS = """
const place = window.fetch;
window.fetch = async (path, about) => {
  const answer = await place(path, about);
  if (about.method === 'POST') await new Promise((go) => { window.answer = go; });
  return answer;
};
"""
# Tells the page of an event as the server does.
TELL = """
(data) => channel.onmessage({
  data: JSON.stringify({ label: 'rtvi-ai', type: 'server-message', data }) })
"""
TOP_AND_BOTTOM = """
(id) => { const { top, bottom } = document.getElementById(id).getBoundingClientRect(); return [top, bottom]; }
"""
SHORT = {"phone on its side": (844, 390), "small phone": (320, 568), "zoomed": (640, 360)}
SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}


@pytest.fixture
def in_call(stand_in: StandIn, new_page: Callable[..., Page]) -> Page:
    """A page in a call, which is greeted; with `TELL` a test speaks for the server."""
    url, _ = stand_in
    page = new_page()
    page.add_init_script(CHANNEL)
    live(page, url)
    expect(page.locator('[data-turn="0"] .reply')).to_be_visible()
    return page


def violations(page: Page) -> str:
    found = Axe().run(page)
    return found.generate_report() if found.violations_count else ""


def test_it_loads_from_this_server_only(stand_in: StandIn, new_page: Callable[..., Page]) -> None:
    url, _ = stand_in
    page = new_page()
    asked: list[Request] = []
    refused: list[str] = []
    page.on("request", lambda request: asked.append(request))
    page.on("console", lambda said: refused.append(said.text) if said.type == "error" else None)
    with no_page_errors(page):
        page.goto(url)
        expect(page.get_by_label("Harbour office")).to_be_checked()
    assert {request.url[: len(url)] for request in asked} == {url}
    fonts = page.evaluate("document.fonts.ready.then(all => [...all].map(one => one.status))")
    assert fonts == ["loaded", "loaded"]
    assert not refused


def test_a_page_of_its_own_calls_its_own_persona(
    stand_in: StandIn, new_page: Callable[..., Page]
) -> None:
    url, _ = stand_in
    page = new_page()
    page.goto(f"{url}books")
    expect(page.locator("#about")).to_have_text("Books and hours.")
    expect(page.get_by_text("Who answers")).to_be_hidden()
    with page.expect_request("**/api/offer") as placed:
        page.get_by_role("button", name="Talk").click()
    assert placed.value.post_data_json["request_data"]["page"] == "/books"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing(
    stand_in: StandIn, new_page: Callable[..., Page], scheme: str, size: str
) -> None:
    url, _ = stand_in
    page = new_page(color_scheme=scheme, viewport=SIZES[size], reduced_motion="reduce")
    page.goto(url)
    expect(page.get_by_label("Harbour office")).to_be_checked()
    assert not violations(page)
    page.get_by_role("button", name="Settings").click()
    assert not violations(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Talk").click()
    expect(page.locator(".reply .heard").nth(3)).to_be_visible()
    page.get_by_label("Type a message").fill("Is there a berth?")
    page.keyboard.press("Enter")
    expect(page.locator(".steps")).to_be_visible()
    expect(page.locator("del").first).to_be_visible()
    assert not violations(page)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= SIZES[size]["width"]


@pytest.mark.parametrize("size", SHORT)
def test_nothing_covers_anything_in_a_short_window(
    stand_in: StandIn, new_page: Callable[..., Page], size: str
) -> None:
    url, _ = stand_in
    width, height = SHORT[size]
    page = new_page(viewport={"width": width, "height": height}, reduced_motion="reduce")
    page.add_init_script(CHANNEL)

    def ends_before_the_dock(part: str) -> bool:
        return page.evaluate(TOP_AND_BOTTOM, part)[1] <= page.evaluate(TOP_AND_BOTTOM, "dock")[0]

    page.goto(url)
    expect(page.get_by_label("Harbour office")).to_be_checked()
    assert ends_before_the_dock("hello")
    page.get_by_role("button", name="Type instead").click()
    expect(page.locator(".reply .heard").nth(3)).to_be_visible()
    top, bottom = page.evaluate(TOP_AND_BOTTOM, "transcript")
    assert bottom - top > height / 4
    assert ends_before_the_dock("transcript")
    page.evaluate(TELL, {"event": "state", "state": "ducked", "reason": "it heard you " * 9})
    assert page.evaluate(TOP_AND_BOTTOM, "transcript") == [top, bottom], "it stays where it is"
    page.evaluate(
        TELL, {"event": "error", "message": "It broke.", "cure": "Mend it, and then say it again."}
    )
    expect(page.get_by_role("alert")).to_be_visible()
    assert ends_before_the_dock("trouble")
    page.get_by_role("button", name="Settings").click()
    assert page.evaluate(TOP_AND_BOTTOM, "settings")[1] <= height


def test_words_of_any_length_and_direction_are_shown_whole(in_call: Page) -> None:
    in_call.set_viewport_size(SIZES["phone"])
    in_call.evaluate(
        TELL, {"event": "caller_words", "turn": 7, "text": "نعم." + "x" * 200, "final": True}
    )
    in_call.evaluate(TELL, {"event": "agent_text", "turn": 7, "text": "نعم " + "x" * 200})
    expect(in_call.locator('[data-turn="7"] .word')).to_have_count(2)
    assert (
        in_call.evaluate(
            "(all => all.scrollWidth - all.clientWidth)(document.getElementById('transcript'))"
        )
        == 0
    )
    for line in (".said", ".reply"):
        written = in_call.locator(f'[data-turn="7"] {line}')
        expect(written).to_have_css("direction", "rtl")
    expect(in_call.locator('[data-turn="0"] .reply')).to_have_css("direction", "ltr")


def test_a_long_conversation_makes_the_page_no_longer(in_call: Page) -> None:
    for turn in range(2, 22):
        in_call.evaluate(TELL, {"event": "agent_text", "turn": turn, "text": "One thing more."})
    expect(in_call.locator('[data-turn="21"] .reply')).to_be_visible()
    shape = in_call.evaluate(
        "(all => [all.scrollHeight, all.clientHeight])(document.documentElement)"
    )
    assert shape[0] == shape[1]


def test_a_conversation_is_shown_as_it_happens(
    stand_in: StandIn, new_page: Callable[..., Page], caller_wav: Path
) -> None:
    url, _ = stand_in
    page = new_page(caller_wav)
    page.add_init_script(WATCH)
    with no_page_errors(page):
        live(page, url)
        greeting = page.locator('[data-turn="0"] .reply')
        expect(greeting).to_contain_text(GREETING)
        expect(greeting.locator(".heard")).to_have_count(len(GREETING.split()))

        said = page.locator('[data-turn="1"] .said')
        expect(said).to_contain_text(EXCHANGES[0][0])
        expect(said).not_to_have_class(re.compile("partial"))
        steps = page.get_by_role("list", name=re.compile("Answered in 500 milliseconds"))
        expect(steps.first.get_by_role("listitem")).to_have_count(len(PARTS))

        struck = page.locator('[data-turn="1"] del')
        expect(struck).to_have_count(1)
        heard = page.locator('[data-turn="1"] .heard').all_inner_texts()
        assert " ".join(heard) + " " + struck.inner_text() == EXCHANGES[0][1]

        answer = page.locator('[data-turn="2"] .reply')
        expect(answer.locator(".heard")).to_have_count(len(EXCHANGES[1][1].split()))
        expect(page.locator("body")).to_have_attribute("data-state", "listening")
        expect(page.locator("#network")).to_have_attribute("data-bars", re.compile("[1-4]"))
    seen = set(page.evaluate("window.seen"))
    assert seen >= {"listening", "thinking", "speaking", "ducked", "partial", "now"}


def test_typing_hushing_and_keys(stand_in: StandIn, new_page: Callable[..., Page]) -> None:
    url, calls = stand_in
    page = new_page()
    page.add_init_script(CHANNEL)
    page.goto(url)
    page.get_by_role("button", name="Type instead").click()
    expect(page.get_by_label("Type a message")).to_be_focused()
    page.keyboard.type("A berth for tonight?")
    page.keyboard.press("Enter")
    expect(page.locator('[data-turn="1"] .said')).to_contain_text("A berth for tonight?")
    assert next(iter(calls.calls.values())).typed == ["A berth for tonight?"]
    expect(page.locator("body")).to_have_attribute("data-state", "speaking")
    expect(page.locator('[data-turn="1"] .heard').first).to_be_visible()
    page.get_by_role("button", name="Settings").click()
    page.keyboard.press("Escape")
    expect(page.locator("#settings")).to_be_hidden()
    page.evaluate(COMPOSED_ESCAPE)
    assert "interrupt" not in "".join(page.evaluate("sent")), "these were not meant for the agent"
    page.keyboard.press("Escape")
    expect(page.locator('[data-turn="1"] del')).to_have_count(1)
    page.locator("#transcript").focus()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Muted")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("/")
    expect(page.get_by_label("Type a message")).to_be_focused()
    page.get_by_role("button", name="End", exact=True).click()
    expect(page.get_by_role("button", name="Talk again")).to_be_focused()
    expect(page.get_by_role("status")).to_have_text("You hung up.")


def test_a_double_click_places_one_call(stand_in: StandIn, new_page: Callable[..., Page]) -> None:
    url, calls = stand_in
    page = new_page()
    page.goto(url)
    expect(page.get_by_label("Harbour office")).to_be_checked()
    page.get_by_role("button", name="Talk").dblclick()
    expect(page.locator("body")).to_have_attribute("data-phase", "live")
    assert calls.active == 1


def test_end_takes_back_a_call_that_waits_for_the_server(
    stand_in: StandIn, new_page: Callable[..., Page]
) -> None:
    url, calls = stand_in
    page = new_page(bypass_csp=True)  # so that the test may wait for JavaScript
    page.add_init_script(LATE_ANSWERS)
    with no_page_errors(page):
        page.goto(url)
        expect(page.get_by_label("Harbour office")).to_be_checked()
        page.get_by_role("button", name="Talk").click()
        page.wait_for_function("Boolean(window.answer)")
        page.get_by_role("button", name="End", exact=True).click()
        expect(page.locator("body")).to_have_attribute("data-phase", "idle")
        assert calls.active == 1
        page.evaluate("answer()")
        deadline_s = time.monotonic() + 9
        while calls.active:
            assert time.monotonic() < deadline_s, "the server was not told"
            page.wait_for_timeout(20)
    assert page.locator("body").get_attribute("data-phase") == "idle"
    assert page.evaluate("document.getElementById('ear').srcObject") is None


def test_a_browser_that_keeps_nothing_can_call(
    stand_in: StandIn, new_page: Callable[..., Page]
) -> None:
    url, _ = stand_in
    page = new_page()
    page.add_init_script(
        "for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name,"
        " { get() { throw new DOMException('', 'SecurityError'); } });"
    )
    with no_page_errors(page):
        live(page, url)


def test_a_full_server_is_explained(stand_in: StandIn, new_page: Callable[..., Page]) -> None:
    url, calls = stand_in
    calls.most = 1
    live(new_page(), url)
    second = new_page()
    second.goto(url)
    second.get_by_role("button", name="Talk").click()
    expect(second.get_by_role("alert")).to_contain_text("all lines are busy")
    calls.most = 2
    second.get_by_role("alert").get_by_role("button", name="Try again").click()
    expect(second.locator("body")).to_have_attribute("data-phase", "live")
    expect(second.get_by_role("alert")).to_be_empty()


def test_a_gone_server_is_explained(stand_in: StandIn, new_page: Callable[..., Page]) -> None:
    url, _ = stand_in
    page = new_page()
    page.goto(url)
    page.route("**/api/offer", lambda route: route.abort())
    page.get_by_role("button", name="Talk").click()
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer.")


def test_nothing_is_offered_before_the_server_says_what_there_is(
    stand_in: StandIn, new_page: Callable[..., Page]
) -> None:
    url, _ = stand_in
    page = new_page()
    page.route("**/api/page*", lambda route: route.abort())
    page.goto(url)
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer.")
    expect(page.get_by_text("Who answers")).to_be_hidden()
    page.unroute("**/api/page*")
    page.get_by_role("alert").get_by_role("button", name="Try again").click()
    expect(page.get_by_label("Harbour office")).to_be_checked()


def test_missing_candidates_are_explained(stand_in: StandIn, new_page: Callable[..., Page]) -> None:
    url, _ = stand_in
    page = new_page()
    page.add_init_script(
        "Object.defineProperty(RTCPeerConnection.prototype, 'onicecandidate', {set() {}});"
        "RTCPeerConnection.prototype.setRemoteDescription = async () => {};"
    )
    page.clock.install()
    page.goto(url)
    page.get_by_role("button", name="Talk").click()
    expect(page.locator("body")).to_have_attribute("data-phase", "connecting")
    page.wait_for_timeout(500)
    page.clock.run_for(11_000)
    expect(page.get_by_role("alert")).to_contain_text("found no way out to the network")


def test_a_key_meant_for_a_call_that_ends_places_no_other(in_call: Page) -> None:
    in_call.get_by_label("Type a message").focus()
    in_call.keyboard.type("ok")
    in_call.evaluate(TELL, {"event": "bye", "reason": "It hung up."})
    expect(in_call.locator("#transcript")).to_be_focused()
    in_call.keyboard.type(" and thanks")
    in_call.keyboard.press("Enter")
    assert in_call.locator("body").get_attribute("data-phase") == "ended"


def test_a_page_outlives_its_server(flite_installed: None, new_page: Callable[..., Page]) -> None:
    port = free_port()
    settings = WebSettings(port=port, secret="open sesame")
    with serving(create_app(StandInCalls(), CATALOGUE, settings), port) as url:
        page = new_page()
        page.goto(f"{url}#key=open%20sesame")
        expect(page.get_by_label("Harbour office")).to_be_checked()
    with serving(create_app(StandInCalls(), CATALOGUE, settings), port):
        page.get_by_role("button", name="Talk").click()
        expect(page.locator("body")).to_have_attribute("data-phase", "live")


def test_a_key_is_asked_for_or_taken_from_the_link(
    flite_installed: None, new_page: Callable[..., Page]
) -> None:
    port = free_port()
    app = create_app(StandInCalls(), CATALOGUE, WebSettings(port=port, secret="open sésame ☂"))
    with serving(app, port) as url:
        page = new_page()
        page.goto(url)
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("This Parley asks for a key.")
        alert.get_by_label("Key").fill("guess")
        page.keyboard.press("Enter")
        expect(alert).to_contain_text("That key does not fit.")
        alert.get_by_label("Key").fill("open sésame ☂")
        page.keyboard.press("Enter")
        expect(page.get_by_label("Harbour office")).to_be_checked()
        expect(alert).to_be_empty()
        invited = new_page()
        live(invited, f"{url}#key=open%20s%C3%A9same%20%E2%98%82")
        assert invited.url == url
        misled = new_page()
        misled.goto(f"{url}#key=100%")
        expect(misled.get_by_role("alert")).to_contain_text("That key does not fit.")
