"""The page inside another site's page, in headless Chromium across two origins."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from playwright.sync_api import FrameLocator, Page, expect

from tests.web.catalogue import CATALOGUE
from tests.web.conftest import free_port, serving
from tests.web.stand_in import StandInCalls
from web.server import create_app
from web.settings import WebSettings

pytestmark = pytest.mark.browser
FRAME = '<iframe src="{0}books" width="360" height="480" allow="microphone; autoplay"></iframe>'
BUTTON = (
    '<script src="{0}static/embed.js" data-page="/books" data-label="Ask the library"></script>'
)
# As strict as a site can be that loads our script and shows our frame.
POLICY = "default-src 'none'; script-src {0}; frame-src {0}"


@dataclass
class Embedded:
    """Parley's calls, and the address of another site's page with Parley on it."""

    calls: StandInCalls
    site: str


Embed = Callable[..., AbstractContextManager[Embedded]]


@pytest.fixture
def embedded(flite_installed: None) -> Embed:
    @contextmanager
    def embed(body: str, *, allowed: bool = True) -> Iterator[Embedded]:
        site_port, port = free_port(), free_port()
        site = f"http://127.0.0.1:{site_port}"
        settings = WebSettings(port=port, allowed_origins=(site,) if allowed else ())
        calls, shop = StandInCalls(), FastAPI()
        with serving(create_app(calls, CATALOGUE, settings), port) as url:

            @shop.get("/")
            def page() -> HTMLResponse:
                policy = {"content-security-policy": POLICY.format(url)}
                return HTMLResponse(f"<!doctype html>{body.format(url)}", headers=policy)

            with serving(shop, site_port):
                yield Embedded(calls, f"{site}/")

    return embed


def talk(frame: FrameLocator) -> None:
    """Place a call in a frame, until the agent hears and is heard."""
    expect(frame.locator("#about")).to_have_text("Books and hours.")
    frame.get_by_role("button", name="Talk").click()
    expect(frame.locator("body")).to_have_attribute("data-phase", "live")
    expect(frame.locator(".reply .heard").first).to_be_visible()
    expect(frame.locator("#level-you")).not_to_have_attribute("aria-valuenow", "-60")


def test_a_site_that_was_named_shows_the_page_in_a_frame(
    embedded: Embed, new_page: Callable[..., Page]
) -> None:
    with embedded(FRAME) as told:
        page = new_page()
        page.goto(told.site)
        talk(page.frame_locator("iframe"))


def test_no_other_site_can_frame_the_page_or_load_the_button(
    embedded: Embed, new_page: Callable[..., Page]
) -> None:
    """Who frames a page could lead visitors to press its buttons unawares."""
    with embedded(FRAME + BUTTON, allowed=False) as told:
        page = new_page()
        with page.expect_console_message(lambda said: "frame-ancestors 'none'" in said.text):
            page.goto(told.site)
        expect(page.frame_locator("iframe").locator("#talk")).to_have_count(0)
        expect(page.get_by_role("button", name="Ask the library")).to_have_count(0)


def test_the_button_opens_the_page_and_closing_it_hangs_up(
    embedded: Embed, new_page: Callable[..., Page]
) -> None:
    with embedded(BUTTON) as told:
        page = new_page()
        page.goto(told.site)
        assert not page.frames[1:], "nothing is loaded before it is asked for"
        page.get_by_role("button", name="Ask the library").click()
        talk(page.frame_locator("iframe"))
        page.get_by_role("button", name="Close: Ask the library").click()
        expect(page.locator("iframe")).to_have_count(0)
        deadline_s = time.monotonic() + 9
        while told.calls.active:
            assert time.monotonic() < deadline_s, "the server was not told"
            page.wait_for_timeout(20)
        assert not page.context.cookies()
