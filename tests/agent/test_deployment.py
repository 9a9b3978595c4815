from __future__ import annotations

from pathlib import Path

import pytest

from agent.deployment import load_deployment
from common.errors import ConfigError

GOOD = """\
llm: script
numbers:
  "+33 1 23 45 67 89": {persona: restaurant, voice: ann}
  "*": {persona: parley}
pages:
  /: {persona: parley}
  /mine: {persona: mine.yaml, language: fr}
personas: [parley, mine.yaml]
"""


@pytest.fixture
def deploy(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("name: mine\ntitle: Mine\n", encoding="utf-8")

    def write(text: str):
        (tmp_path / "deployment.yaml").write_text(text, encoding="utf-8")
        return load_deployment(tmp_path / "deployment.yaml")

    return write


def test_numbers_and_pages_find_their_persona(deploy):
    deployment = deploy(GOOD)
    restaurant = deployment.persona(deployment.for_number("+33 (1) 23.45.67.89"))
    assert (restaurant.name, restaurant.voice) == ("restaurant", "ann")
    assert deployment.for_number("+1 555 0100").persona == "parley"
    mine = deployment.persona(deployment.for_page("/mine"))
    assert (mine.title, mine.language) == ("Mine", "fr")
    assert deployment.for_page("/unknown").persona == "parley"
    assert [persona.name for persona in deployment.choice] == ["parley", "mine"]


def test_an_empty_file_serves_the_host_on_the_front_page(deploy):
    deployment = deploy("")
    assert deployment.persona(deployment.for_page("/")).name == "parley"
    with pytest.raises(ConfigError, match="No route for the number"):
        deployment.for_number("+15550100")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("lmm: auto\n", 1, "unknown key 'lmm'"),
        ("numbers:\n  '+331234567':\n    perzona: parley\n", 3, "unknown key"),
        ("numbers:\n  hello: {}\n", 2, "international form"),
        ("pages:\n  /x: {}\n", 1, "no route for '/'"),
        ("pages:\n  /: {voice: [1]}\n", 2, "voice"),
    ],
)
def test_mistakes_name_key_and_line(deploy, text, line, words):
    with pytest.raises(ConfigError, match=words) as caught:
        deploy(text)
    assert f"deployment.yaml, line {line}:" in caught.value.cause


def test_a_persona_that_is_not_there_shows_at_start(deploy):
    with pytest.raises(ConfigError, match="no persona 'restorant'") as caught:
        deploy("pages:\n  /: {persona: restorant}\n")
    assert caught.value.cure.startswith("Did you mean 'restaurant'?")
    with pytest.raises(ConfigError, match=r"gone\.yaml cannot be read"):
        deploy("personas: [gone.yaml]\n")
