"""Tool calls that a language model wrote as text, because its server does not know its format.

Small models write JSON with `name` and `arguments` (or `parameters`), one or a list of them, between
marks that `agent.unspoken` knows; Mistral's newer ones `name[ARGS]{…}`, Meta's `<function=name>{…}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_NAMED = re.compile(r"\s*(?:\[TOOL_CALLS\])?\s*([\w.-]+)\s*(?:\[ARGS\]|>)?\s*(?=\{)")
_DECODER = json.JSONDecoder()


def written_calls(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each call's name and arguments; what is no call is passed over.

    Args:
        text: What stood behind the mark, as the model wrote it.
    """
    try:
        while text.strip():
            named = _NAMED.match(text)
            rest = text[named.end() :] if named else text.lstrip(" \n\r\t,;")
            found, end = _DECODER.raw_decode(rest)
            text = rest[end:]
            wanted = [{"name": named[1], "arguments": found}] if named else found
            for call in wanted if isinstance(wanted, list) else [wanted]:
                yield from _call(call)
    except ValueError:
        return


def _call(call: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(call, dict):
        return
    arguments = call.get("arguments", call.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = json.loads(arguments or "{}")
    if isinstance(call.get("name"), str) and isinstance(arguments, dict):
        yield call["name"], arguments
