"""Who may come in: keys, tokens, and pages of other sites."""

from __future__ import annotations

from typing import Any

import pytest

from common.errors import ConfigError
from tests.web.catalogue import CATALOGUE
from tests.web.switchboard import Switchboard, client
from web.guard import TokenMint
from web.server import create_app
from web.settings import WebSettings, read_origin, read_public_url


async def test_with_a_secret_the_page_token_opens_the_door(offer: dict[str, str]) -> None:
    visitor = client(Switchboard(), host="0.0.0.0", secret="open sesame")
    key = {"authorization": "Bearer open sesame"}
    assert (await visitor.get("/")).status_code == 200
    assert (await visitor.get("/api/page")).status_code == 401
    wrong = await visitor.get("/api/page", headers={"authorization": "Bearer guess"})
    assert wrong.json()["error"] == "That key does not fit."
    token = (await visitor.get("/api/page", headers=key)).json()["token"]
    assert (await visitor.post("/api/offer", json=offer)).status_code == 401
    bearer = {"authorization": f"Bearer {token}"}
    assert (await visitor.post("/api/offer", json=offer, headers=bearer)).status_code == 200
    assert (await visitor.post("/api/offer", json=offer, headers=key)).status_code == 200
    assert (await visitor.get("/metrics")).status_code == 401
    assert (await visitor.get("/metrics", headers=key)).status_code == 200


async def test_a_secret_may_be_written_in_any_alphabet() -> None:
    visitor = client(Switchboard(), secret="clé ☂")
    key = {"authorization": "Bearer clé ☂".encode()}
    assert (await visitor.get("/api/page", headers=key)).status_code == 200


async def test_an_identity_provider_can_decide(offer: dict[str, str]) -> None:
    async def verify(token: str) -> str | None:
        return "ada" if token == "ada's token" else None

    visitor = client(Switchboard(), verify=verify, public_url="https://talk.example")
    for token, status in (("ada's token", 200), ("eve's token", 401)):
        answer = await visitor.get("/api/page", headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == status


def test_tokens_expire_and_cannot_be_made_up() -> None:
    now_s = 1000.0
    mint = TokenMint(60, clock=lambda: now_s)
    token = mint.mint()
    assert mint.is_valid(token)
    assert not mint.is_valid(TokenMint(60, clock=lambda: now_s).mint())
    assert not mint.is_valid("x" + token[1:])
    assert not mint.is_valid("ü")
    now_s += 61
    assert not mint.is_valid(token)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://localhost:7860"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"host": "rebound.example:7860"}, 403),
    ],
)
async def test_foreign_pages_and_rebound_names_are_refused(
    offer: dict[str, str], headers: dict[str, str], status: int
) -> None:
    answer = await client(Switchboard()).post("/api/offer", json=offer, headers=headers)
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("https://shop.example/", "https://shop.example"),
        ("https://Shop.Example:443", "https://shop.example"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
def test_a_site_is_known_however_it_is_written(given: str, meant: str) -> None:
    assert read_origin(given) == meant


@pytest.mark.parametrize("given", ["https://Talk.Example/", "https://talk.example:443"])
async def test_the_public_page_may_call_behind_a_proxy_that_keeps_its_name(given: str) -> None:
    visitor = client(Switchboard(), public_url=read_public_url(given), secret="s")
    sent = {"origin": "https://talk.example", "authorization": "Bearer s"}
    assert (await visitor.get("/api/page", headers=sent)).status_code == 200


@pytest.mark.parametrize("given", ["*", "null", "shop.example", "https://shop.example/till", ""])
def test_what_no_page_can_come_from_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="no origin"):
        read_origin(given)


async def test_an_allowed_site_may_call(offer: dict[str, str]) -> None:
    visitor = client(Switchboard(), allowed_origins=("https://shop.example",))
    origin = {"origin": "https://shop.example"}
    answer = await visitor.post("/api/offer", json=offer, headers=origin)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"


@pytest.mark.parametrize(
    "settings", [{"host": "0.0.0.0"}, {"host": "192.0.2.7"}, {"public_url": "https://a.example"}]
)
def test_a_public_address_is_never_open_by_accident(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="strangers"):
        create_app(Switchboard(), CATALOGUE, WebSettings(**settings))
    create_app(Switchboard(), CATALOGUE, WebSettings(**settings, secret="s"))
    create_app(Switchboard(), CATALOGUE, WebSettings(**settings, open_to_all=True))


def test_a_verifier_that_cannot_be_awaited_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match="async"):
        create_app(Switchboard(), CATALOGUE, WebSettings(), verify=lambda token: "ada")  # type: ignore[arg-type,return-value]
