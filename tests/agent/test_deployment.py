from __future__ import annotations

from pathlib import Path

import pytest

from agent.deployment import load_deployment
from common.errors import ConfigError
from pipelines.phone.sip_message import user_of

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


@pytest.mark.parametrize(
    ("request_line", "persona"),
    [
        ("INVITE sip:reception@pbx.example SIP/2.0", "restaurant"),
        ("INVITE sip:Reception@192.168.1.10:5060;transport=udp SIP/2.0", "restaurant"),
        ("INVITE sip:anna-b@192.168.1.10 SIP/2.0", "listener"),
        ("INVITE sip:annab@192.168.1.10 SIP/2.0", "parley"),
        ("INVITE sip:+33123456789@192.168.1.10 SIP/2.0", "quizmaster"),
        ("INVITE sip:33123456789@192.168.1.10 SIP/2.0", "quizmaster"),
        ("INVITE sip:+33123456789;npdi;rn=+3314@192.168.1.10;user=phone SIP/2.0", "quizmaster"),
        ("INVITE sip:%2B33123456789:secret@192.168.1.10 SIP/2.0", "quizmaster"),
        ("INVITE tel:+33-1-23-45-67-89;phone-context=x SIP/2.0", "quizmaster"),
        ("INVITE sip:192.168.1.10 SIP/2.0", "parley"),
    ],
)
def test_a_sip_call_finds_the_route_of_its_user(deploy, request_line, persona):
    deployment = deploy("""\
numbers:
  sip:reception@pbx.example: {persona: restaurant}
  anna-b: {persona: listener}
  +33 1 23 45 67 89: {persona: quizmaster}
  "*": {persona: parley}
""")
    assert deployment.for_number(user_of(request_line)).persona == persona


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
        ("numbers:\n  good day: {}\n", 2, "international form"),
        ("numbers:\n  +3312345678o: {}\n", 2, "international form"),
        ("numbers:\n  sip:pbx.example: {}\n", 2, "international form"),
        ("numbers:\n  '+33 1 23': {}\n  '+33123': {}\n", 1, r"\+33 1 23 and \+33123 are the same"),
        ("numbers:\n  sip:a@x.example: {}\n  A: {}\n", 1, "sip:a@x.example and A are the same"),
        ("pages:\n  /x: {}\n", 1, "no route for '/'"),
        ("pages:\n  /: {voice: [1]}\n", 2, "voice"),
        ("pages:\n  /: {language: french}\n", 2, "'pages./.language': use a language tag"),
        ("numbers:\n  '+33 1': {persona: nobody}\n", 2, r"'numbers.\+33 1.persona': There is no"),
        ("pages:\n  /: {persona: gone.yaml}\n", 2, r"'pages./.persona': .*gone\.yaml cannot"),
        ("personas:\n  - parley\n  - nobody\n", 3, "'personas.1': There is no persona 'nobody'"),
        ("personas: []\n", 1, "'personas': List should have at least 1 item"),
        ("llm: auto\nasr: bogus\n", 2, "'asr': give nano, sphinx, mistral, the address"),
        ("llm: auto\ntts: sphinx\n", 2, "'tts': give nano, espeak, mistral, the address"),
        ("tts: nano\nllm: bogus\n", 2, "'llm': 'bogus' is not a language model"),
        ("tts: nano\nllm: 'script,mistral'\n", 2, "'llm': The script always answers"),
        ("folder: elsewhere\n", 1, "unknown key 'folder'"),
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


def test_engines_are_words_addresses_or_folders(deploy, tmp_path):
    (tmp_path / "params.json").touch()
    for spec in ("nano", "sphinx", "mistral", "wss://ears.example", str(tmp_path)):
        assert deploy(f"asr: {spec}\n").asr == spec
    for spec in ("nano", "espeak", "mistral", "https://voice.example", str(tmp_path)):
        assert deploy(f"tts: {spec}\n").tts == spec


def test_two_personas_of_one_name_cannot_both_be_chosen(deploy, tmp_path):
    (tmp_path / "twin.yaml").write_text("name: mine\n", encoding="utf-8")
    for text in (
        "personas: [mine.yaml, twin.yaml]\n",
        "pages: {/: {persona: mine.yaml}}\npersonas: [twin.yaml]\n",
    ):
        with pytest.raises(ConfigError, match=r"mine\.yaml and .*twin\.yaml are both named 'mine'"):
            deploy(text)
    deploy("pages: {/: {persona: mine.yaml, voice: ann}}\npersonas: [mine.yaml]\n")


def test_a_front_persona_stands_in_for_the_shipped_one_of_its_name(deploy, tmp_path):
    (tmp_path / "host.yaml").write_text("name: parley\ntitle: Ours\n", encoding="utf-8")
    offered = deploy("pages: {/: {persona: host.yaml}}\n").who_answers()["/"]
    assert [one.title for one in offered if one.name == "parley"] == ["Ours"]
