"""What the documents show of personas, tools and deployments must work as shown."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from agent.deployment import Deployment
from agent.persona import Persona
from agent.script import Dialogue, ScriptPlayer
from agent.scriptbook import Form, Rule, Script, Slot
from agent.tools import as_tool
from common.yamlfile import parse_yaml

DOCS = Path(__file__).parents[2] / "docs"


def shown(document: str, language: str) -> str:
    text = (DOCS / document).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)[0]


def test_the_bakery_takes_an_order():
    persona = parse_yaml(shown("personas.md", "yaml"), Persona, name="bakery.yaml")
    player, state = ScriptPlayer(persona.script), Dialogue()
    for heard in ("can i order some bread", "to", "on tuesday", "my name is jo", "yes please"):
        state, said = player.reply(state, heard, datetime(2026, 11, 21, 9))
    assert said == "Done, Jo. See you Tuesday."


def test_every_key_of_a_persona_is_told_of():
    text = (DOCS / "personas.md").read_text(encoding="utf-8")
    keys = {key for model in (Persona, Script, Form, Rule, Slot) for key in model.model_fields}
    assert {key for key in keys if not re.search(rf"\b{key}(`|:)", text)} == set()


def test_the_deployment_loads():
    deployment = parse_yaml(shown("serving.md", "yaml"), Deployment, name="office.yaml")
    assert deployment.for_page("/quiz").voice == "mae"
    assert deployment.persona(deployment.for_number("+33123456789")).name == "restaurant"


def test_the_tool_is_one():
    names: dict = {}
    exec(shown("personas.md", "python"), names)
    tool = as_tool(names["free_tables"])
    assert (tool.options.time_limit_s, tool.description) == (5, "Find free tables on a day.")
