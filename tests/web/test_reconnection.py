"""The page when its connection is lost: tried again, and nothing of the call disturbed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from playwright.sync_api import Page, Route, expect

from tests.web.conftest import LOSABLE, LOSE, StandIn, live
from tests.web.stand_in import GREETING, StandInCalls

pytestmark = pytest.mark.browser
# Notes what the page shows the agent doing whenever the phase of the call changes.
PHASES = """
window.phases = [];
document.addEventListener('DOMContentLoaded', () => new MutationObserver(() => {
  const { phase, state } = document.body.dataset;
  phases.push({ phase, state, hush: !document.getElementById('interrupt').disabled });
}).observe(document.body, { attributeFilter: ['data-phase'] }));
"""


@pytest.fixture
def losable(stand_in: StandIn, new_page: Callable[..., Page]) -> tuple[Page, StandInCalls]:
    """A call whose connection a test can lose, and the server's calls."""
    url, calls = stand_in
    page = new_page()
    page.add_init_script(LOSABLE)
    live(page, url)
    return page, calls


def test_every_lost_connection_is_tried_once_more(
    losable: tuple[Page, StandInCalls],
) -> None:
    page, calls = losable
    (first,) = calls.calls
    for _ in range(2):
        assert page.evaluate(LOSE) == "reconnecting"
        expect(page.locator("body")).to_have_attribute("data-phase", "live")
        assert list(calls.calls) == [first], "the same call goes on"
    page.evaluate(LOSE)
    page.evaluate(LOSE)
    expect(page.get_by_role("alert")).to_contain_text("The connection was lost.")


def failing(page: Page, times: int) -> list[Route]:
    """Let so many offers fail as they do without a network; answers all that were made so far."""
    asked: list[Route] = []

    def answer(route: Route) -> None:
        if route.request.method == "POST":
            asked.append(route)
        if len(asked) > times:
            route.continue_()
        else:
            route.abort("internetdisconnected")

    page.route("**/api/offer", answer)
    return asked


def test_a_reconnection_outlasts_requests_that_fail(losable: tuple[Page, StandInCalls]) -> None:
    page, calls = losable
    (first,) = calls.calls
    asked = failing(page, times=2)
    assert page.evaluate(LOSE) == "reconnecting"
    expect(page.locator("body")).to_have_attribute("data-phase", "live")
    assert len(asked) == 3
    assert list(calls.calls) == [first], "the same call goes on"


def test_a_reconnection_gives_up_after_some_seconds(losable: tuple[Page, StandInCalls]) -> None:
    page, _ = losable
    asked = failing(page, times=100)
    page.evaluate(LOSE)
    expect(page.get_by_role("alert")).to_contain_text("The connection was lost.")
    assert 2 <= len(asked) <= 6


def test_a_network_that_is_back_is_used_at_once(losable: tuple[Page, StandInCalls]) -> None:
    page, _ = losable
    failing(page, times=1)
    page.clock.install()
    page.clock.pause_at(datetime.now() + timedelta(seconds=30))  # no pause ends by itself
    with page.expect_event("requestfailed"):
        page.evaluate(LOSE)
    page.wait_for_timeout(1000)
    assert page.locator("body").get_attribute("data-phase") == "reconnecting"
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(page.locator("body")).to_have_attribute("data-phase", "live")


def test_a_reconnection_leaves_the_keyboard_where_it_was(
    losable: tuple[Page, StandInCalls],
) -> None:
    page, _ = losable
    page.get_by_label("Type a message").focus()
    page.keyboard.type("please")
    page.evaluate(LOSE)
    expect(page.locator("body")).to_have_attribute("data-phase", "live")
    page.keyboard.type(" tell me")
    expect(page.get_by_label("Type a message")).to_have_value("please tell me")
    expect(page.locator("#mute")).to_have_attribute("aria-pressed", "false")


def test_a_reconnection_goes_on_showing_what_the_agent_does(
    stand_in: StandIn, new_page: Callable[..., Page]
) -> None:
    url, calls = stand_in
    page = new_page()
    page.add_init_script(LOSABLE + PHASES)
    live(page, url)
    page.get_by_role("button", name="Mute").click()  # Chromium's microphone beeps: the agent pauses
    expect(page.locator("body")).to_have_attribute("data-state", "speaking")
    page.evaluate(LOSE)
    expect(page.locator("body")).to_have_attribute("data-phase", "live")
    assert page.evaluate("phases.at(-1)") == {"phase": "live", "state": "speaking", "hush": True}
    calls.calls.clear()  # the server gave it up: a new call begins
    page.evaluate(LOSE)
    expect(page.get_by_role("alert")).to_contain_text("A new one has begun.")
    expect(page.locator("body")).to_have_attribute("data-phase", "live")
    assert page.evaluate("phases.at(-1)") == {"phase": "live", "state": "listening", "hush": False}


def test_a_call_that_the_server_gave_up_is_not_continued_on_the_page(
    losable: tuple[Page, StandInCalls],
) -> None:
    page, calls = losable
    page.get_by_label("Type a message").fill("A berth for tonight?")
    page.keyboard.press("Enter")
    expect(page.locator('[data-turn="1"] .said')).to_be_visible()
    calls.calls.clear()
    page.evaluate(LOSE)
    expect(page.get_by_role("alert")).to_contain_text("A new one has begun.")
    expect(page.locator('[data-turn="0"] .reply')).to_contain_text(GREETING)
    expect(page.locator('[data-turn="1"]')).to_have_count(0)


def test_a_line_on_which_nothing_comes_is_not_shown_as_good(
    losable: tuple[Page, StandInCalls],
) -> None:
    page, _ = losable
    network = page.locator("#network")
    expect(network).to_have_attribute("data-bars", "4")
    page.evaluate(
        "async () => { const last = await pcs[0].getStats(); pcs[0].getStats = async () => last; }"
    )
    expect(network).to_have_attribute("data-bars", "1")
