"""The offline script as a language model: answers from the persona's YAML, no network at all."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime

from agent.llm import Message, Piece, TextDelta, ToolCall, ToolSchema
from agent.persona import Persona, small_talk
from agent.script import Dialogue, ScriptPlayer
from agent.transfers import PUT_THROUGH

SCRIPT = "script"
END_CALL = "end_call"
_KEPT_STATES = 512


class ScriptModel:
    """Plays a persona's script. Holds no conversation: its state follows from the messages."""

    def __init__(self, persona: Persona, clock: Callable[[], datetime] = datetime.now):
        english = persona.language.split("-")[0] == "en"
        base = small_talk() if persona.script.small_talk and english else None
        facts = {"title": persona.title or persona.name, "goodbye": persona.goodbye[0]}
        script = persona.script
        if not script.fallback and base is None:
            script = script.model_copy(update={"fallback": [persona.failure]})
        self._player = ScriptPlayer(script, base, facts)
        self._start = Dialogue(last=persona.greeting[0])
        self._failure = persona.failure
        self._clock = clock
        # What the caller said so far → where that leads; saves replaying a long conversation.
        self._states: OrderedDict[tuple[str, ...], Dialogue] = OrderedDict()

    @property
    def name(self) -> str:
        """Always "script"."""
        return SCRIPT

    @property
    def where(self) -> str:
        """Always "offline"."""
        return "offline"

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema]
    ) -> AsyncGenerator[Piece, None]:
        """Yield the script's answer, and call the tool, if there is one, that hangs up or puts through."""
        heard = tuple(_text(m) for m in messages if m["role"] == "user")
        if not heard:
            return
        state, said = self._play(self._state_after(heard[:-1]), heard)
        yield TextDelta(said or self._failure)
        given = {tool["function"]["name"] for tool in tools}
        if state.put_through and PUT_THROUGH in given:
            yield ToolCall(f"script-{len(heard)}", PUT_THROUGH, {"to": state.put_through})
        elif state.ended and END_CALL in given:
            yield ToolCall(f"script-{len(heard)}", END_CALL, {})

    def _state_after(self, heard: tuple[str, ...]) -> Dialogue:
        known = next(n for n in range(len(heard), -1, -1) if n == 0 or heard[:n] in self._states)
        state = self._states[heard[:known]] if known else self._start
        for n in range(known, len(heard)):
            state, _ = self._play(state, heard[: n + 1])
        return state

    def _play(self, state: Dialogue, heard: tuple[str, ...]) -> tuple[Dialogue, str]:
        self._remember(heard, state)  # a turn that fails is passed over, not played again
        state, said = self._player.reply(state, heard[-1], self._clock())
        self._remember(heard, state)
        return state, said

    def _remember(self, heard: tuple[str, ...], state: Dialogue) -> None:
        self._states[heard] = state
        while len(self._states) > _KEPT_STATES:
            self._states.popitem(last=False)


def _text(message: Message) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content if part.get("type") == "text")
