"""A persona's offline conversation, played: (state, words heard) → (new state, reply).

Pure and immutable, so that a reply prepared for a turn that goes on after all can be dropped
without trace, and the same words always get the same answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from agent.matching import match, words_of
from agent.script_rules import Heard, ScriptRules
from agent.scriptbook import PLACEHOLDER, Form, Lines, Script
from agent.slots import parse, yes_or_no

_PATIENCE = 2  # times in a row that an answer is not understood before a form is given up
_CHANGE = "?"  # `asking` while the caller says what to correct
_GIVE_UP_PHRASES = (
    "cancel", "never mind", "forget it", "forget about it", "stop", "i do not want to book",
    "i changed my mind",
)  # fmt: skip
_GIVE_UP = tuple(map(words_of, _GIVE_UP_PHRASES))
_SORRY = ("Sorry, I did not quite catch that.", "I am not sure I understood.", "Pardon me?")
_WHAT_CHANGE = ("What should I change?",)


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Where a conversation stands.

    Attributes:
        slots: What is known, by slot name.
        open: Keys of rules tried first on the next words.
        form: The form being filled, or "".
        asking: The slot being asked for; "" while confirming.
        used: How often each rule or line has been used, for variation.
        last: What was said last, for "say that again".
        misses: Turns in a row that were not understood.
        ended: The goodbye has been said.
        put_through: To whom the caller was told to be put through; "" for nobody.
    """

    slots: Mapping[str, str] = field(default_factory=dict)
    open: tuple[int, ...] = ()
    form: str = ""
    asking: str = ""
    used: Mapping[str, int] = field(default_factory=dict)
    last: str = ""
    misses: int = 0
    ended: bool = False
    put_through: str = ""


class ScriptPlayer:
    """Plays a `Script`.

    Args:
        script: The persona's own.
        base: Shared small talk that stands behind it.
        facts: More that replies may mention, by placeholder.
    """

    def __init__(
        self, script: Script, base: Script | None = None, facts: Mapping[str, str] | None = None
    ):
        base = base or Script()
        self._script = script
        self._facts = facts or {}
        self._rules = ScriptRules(script, base)
        self._fallback = script.fallback or base.fallback

    def reply(self, state: Dialogue, text: str, now: datetime) -> tuple[Dialogue, str]:
        """Answer what was heard.

        Args:
            state: Where the conversation stands.
            text: The caller's words as recognised.
            now: Local time, for greetings and for those who ask.
        """
        state = replace(state, ended=False, put_through="")
        if not words_of(text):
            return self._say(state, [_SORRY], now)
        if state.form:
            return self._fill(state, text, now)
        heard = self._rules.understand(state.open, text)
        return self._miss(state, now) if heard is None else self._follow(state, heard, text, now)

    def topic_of(self, state: Dialogue, text: str) -> int | None:
        """The key of the rule that answers `text`; None when nothing matches. To measure with."""
        heard = self._rules.understand(state.open, text)
        return None if heard is None else heard.key

    def _follow(
        self, state: Dialogue, heard: Heard, text: str, now: datetime
    ) -> tuple[Dialogue, str]:
        key, rule = heard.key, self._rules[heard.key]
        slots, lines, keep = {**state.slots, **heard.captured}, [rule.say], rule.keep
        while True:
            slots |= rule.set
            for name, step in rule.add.items():
                slots[name] = str(int(slots.get(name, "0")) + step)
            if not rule.goto:
                break
            key = self._rules.named(rule.goto)
            rule = self._rules[key]
            lines.append(rule.say)
        state = replace(state, slots=slots, misses=0, ended=rule.end, put_through=rule.put_through)
        if not keep:
            state = replace(state, open=self._rules.opened_by(key, state.open))
        if rule.form:
            asked_for = self._script.forms[rule.form].slots
            fresh = {name: value for name, value in slots.items() if name not in asked_for}
            return self._go_on(replace(state, form=rule.form, slots=fresh), text, now, lines)
        return self._say(state, lines, now)

    def _miss(self, state: Dialogue, now: datetime) -> tuple[Dialogue, str]:
        lines: list[Lines] = [self._fallback or list(_SORRY)]
        if state.misses % 2 == 1 and self._script.lead:
            lines.append(self._script.lead)
        return self._say(replace(state, misses=state.misses + 1), lines, now)

    def _fill(self, state: Dialogue, text: str, now: datetime) -> tuple[Dialogue, str]:
        form = self._script.forms[state.form]
        words = words_of(text)
        heard = self._rules.understand(state.open, text)
        if heard is not None and self._rules[heard.key].urgent:
            return self._follow(replace(state, form="", asking=""), heard, text, now)
        if any(match(pattern, words).score > 0.8 for pattern in _GIVE_UP):
            return self._close(state, form.cancelled, now)
        if heard is not None and self._is_aside(heard):
            return self._aside(state, heard, text, now)
        if state.asking in self._script.slots:
            if (known := self._answered(state, form, text)) != state.slots:
                # What is volunteered is kept, but is no answer: who is asked in vain is let go.
                misses = 0 if state.asking in known else state.misses
                return self._go_on(replace(state, slots=known, misses=misses), text, now)
        elif (revised := self._revise(replace(state, misses=0), form, text, now)) is not None:
            return revised
        # What the form has no use for is answered as it would be outside of one, if it was clear.
        if heard is not None and self._is_clear(heard) and yes_or_no(text) is None:
            return self._aside(state, heard, text, now)
        if state.misses >= _PATIENCE:
            return self._close(state, form.cancelled, now)
        return self._go_on(replace(state, misses=state.misses + 1), "", now, lead=[list(_SORRY)])

    def _aside(
        self, state: Dialogue, heard: Heard, text: str, now: datetime
    ) -> tuple[Dialogue, str]:
        """Answer something else in the middle of a form, and ask again; not who leaves."""
        kept, said = self._follow(replace(state, form=""), heard, text, now)
        if kept.ended:
            return kept, said
        kept = replace(kept, form=state.form, asking=state.asking, open=state.open)
        if said == state.last or kept.put_through:
            return kept, said  # "say that again": the question is in it
        kept, question = self._go_on(kept, "", now)
        return replace(kept, last=f"{said} {question}"), f"{said} {question}"

    def _answered(self, state: Dialogue, form: Form, text: str) -> Mapping[str, str]:
        """The slots after an answer.

        It may also correct what was asked before ("no, three") or tell what will be asked later.
        """
        if (value := parse(self._script.slots[state.asking], text, asked=True)) is not None:
            return {**state.slots, state.asking: value}
        before = form.slots[: form.slots.index(state.asking)][-1:]
        if before and yes_or_no(text) is False and self._script.slots[before[0]].kind != "text":
            value = parse(self._script.slots[before[0]], text, asked=True)
        if value is not None:
            return {**state.slots, before[0]: value}
        return self._volunteered(state, form, text)

    def _revise(
        self, state: Dialogue, form: Form, text: str, now: datetime
    ) -> tuple[Dialogue, str] | None:
        """Take what is said to "is that right?": a correction, what to correct, yes, or no."""
        corrected = self._volunteered(state, form, text, over=True)
        if corrected != state.slots:
            return self._go_on(replace(state, slots=corrected), "", now)
        words, meant = " ".join(words_of(text)), yes_or_no(text)
        if named := next((slot for slot in form.slots if slot.replace("_", " ") in words), ""):
            return self._ask(state, named, now)
        if meant is None or (meant and state.asking == _CHANGE):
            return None
        if meant or state.asking == _CHANGE:
            return self._close(state, form.done if meant else form.cancelled, now)
        return self._say(replace(state, asking=_CHANGE), [list(_WHAT_CHANGE)], now)

    def _close(self, state: Dialogue, lines: Lines, now: datetime) -> tuple[Dialogue, str]:
        return self._say(replace(state, form="", asking="", misses=0), [lines], now)

    def _is_aside(self, heard: Heard) -> bool:
        """Whether a question is to be answered in the middle of a form. A bare "yes" is not."""
        rule = self._rules[heard.key]
        # A word alone may be an answer that sounds like it: "Sara" like "sorry".
        aside = heard.is_sentence or (rule.keep and heard.exact)
        return heard.rank[0] >= 0.9 and not rule.form and aside

    def _is_clear(self, heard: Heard) -> bool:
        """Whether it is no single word that was heard as another: "sour" as "sure"."""
        return not self._rules[heard.key].form and (heard.exact or heard.is_sentence)

    def _volunteered(
        self, state: Dialogue, form: Form, text: str, *, over: bool = False
    ) -> Mapping[str, str]:
        """What the caller said of the form without being asked."""
        slots = dict(state.slots)
        for name in form.slots:
            if name == state.asking or (name in slots and not over):
                continue
            if (value := parse(self._script.slots[name], text, asked=False)) is not None:
                slots[name] = value
        return slots

    def _go_on(
        self, state: Dialogue, text: str, now: datetime, lead: Iterable[Lines] = ()
    ) -> tuple[Dialogue, str]:
        """Ask for the next slot of the form, or have it confirmed."""
        form = self._script.forms[state.form]
        state = replace(state, slots=self._volunteered(state, form, text))
        missing = next((name for name in form.slots if name not in state.slots), "")
        if missing:
            return self._ask(state, missing, now, lead)
        return self._say(replace(state, asking=""), [*lead, form.confirm], now)

    def _ask(
        self, state: Dialogue, slot: str, now: datetime, lead: Iterable[Lines] = ()
    ) -> tuple[Dialogue, str]:
        return self._say(replace(state, asking=slot), [*lead, self._script.slots[slot].ask], now)

    def _say(
        self, state: Dialogue, parts: Iterable[Lines | tuple[str, ...]], now: datetime
    ) -> tuple[Dialogue, str]:
        known = {**self._facts, **state.slots, **self._always_known(state, now)}
        used, said = dict(state.used), []
        for lines in parts:
            fitting = [line for line in lines if set(PLACEHOLDER.findall(line)) <= set(known)]
            personal = [
                s for s in fitting if not state.slots.keys().isdisjoint(PLACEHOLDER.findall(s))
            ]
            if fitting := personal or fitting:
                nth = used.get(lines[0], 0)
                used[lines[0]] = nth + 1
                said.append(PLACEHOLDER.sub(lambda m: known[m[1]], fitting[nth % len(fitting)]))
        reply = " ".join(line[0].upper() + line[1:] for line in said if line)
        return replace(state, used=used, last=reply or state.last), reply

    def _always_known(self, state: Dialogue, now: datetime) -> dict[str, str]:
        topics = [rule.topic for rule in self._script.rules if rule.topic]
        hour, minute = now.hour % 12 or 12, f":{now.minute:02d}" if now.minute else " o'clock"
        part = "morning" if now.hour < 12 else "afternoon" if now.hour < 18 else "evening"
        return {
            "now": f"{hour}{minute} in the {part}",
            "today": f"{now:%A}, {now:%B} {now.day}",
            "day_part": part,
            "last": state.last,
            "topics": " or ".join(filter(None, [", ".join(topics[:-1]), *topics[-1:]])),
        }
