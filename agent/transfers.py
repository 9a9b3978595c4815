"""Putting a caller through: to whom, and the tool by which a language model asks for it.

A model names a person and never a number, so nobody can talk it into dialling anything else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, create_model

from agent.tools import Tool, ToolOptions

PUT_THROUGH = "put_through"
_ABOUT = "Put the caller through to somebody. Say so first, in this reply."


def _address(given: Any) -> str:
    """A number without its punctuation, or a SIP address as it is."""
    if not isinstance(given, str):  # YAML took it for a number, and the plus away
        raise ValueError('put a telephone number in quotes, such as "+33123456789"')
    number = re.sub(r"[ ()/.-]", "", given)
    if re.fullmatch(r"\+\d{2,15}", number):
        return number
    if re.fullmatch(r"sip:[\w.!~*'()&=+$,/%-]+@[\w.-]+(:\d{1,5})?", given, re.ASCII):
        return given
    raise ValueError(
        "use a number in international form such as +33 1 23 45 67 89, or an address such as "
        "sip:doctor@pbx.example"
    )


Transfers = dict[Annotated[str, Field(min_length=1)], Annotated[str, BeforeValidator(_address)]]
"""Whom a caller may be put through to: a number (E.164) or a SIP address, by name."""


def put_through_tool(names: Iterable[str]) -> Tool:
    """What a model may call to put the caller through to one of these."""
    whom: Any = Literal[tuple(names)]
    arguments = create_model(PUT_THROUGH, __config__=ConfigDict(extra="forbid"), to=(whom, ...))
    return Tool(PUT_THROUGH, _ABOUT, arguments, _announce, ToolOptions(answer_follows=False))


def _announce(to: str) -> str:
    return f"The caller is being put through to {to}."
