"""What a persona's offline script looks like in YAML. Data only; `agent.script` plays it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from common.yamlfile import StrictModel

Lines = Annotated[list[str], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)]
"""One sentence or several variants of it."""

SomeLines = Annotated[Lines, Field(min_length=1)]
"""The same, and not none at all."""

SlotKind = Literal["name", "number", "time", "day", "digits", "yes_no", "one_of", "text"]

PLACEHOLDER = re.compile(r"\{(\w+)\}")
ALWAYS_KNOWN = frozenset({"now", "today", "day_part", "topics", "title", "goodbye", "last"})


class Slot(StrictModel):
    """Something to remember about the caller.

    Attributes:
        kind: How the answer is understood.
        options: For `one_of`: what may be chosen; for others unused.
        ask: How to ask for it.
        least: For `number`: smallest that makes sense.
        most: For `number`: largest that makes sense.
    """

    kind: SlotKind = "text"
    options: Lines = Field(default_factory=list)
    ask: Lines = Field(default_factory=list)
    least: int = 0
    most: int = 1_000_000

    @model_validator(mode="after")
    def _has_options(self) -> Slot:
        if (self.kind == "one_of") != bool(self.options):
            raise ValueError("`options` belong to kind `one_of`, and it needs them")
        return self

    @model_validator(mode="after")
    def _has_a_number_that_fits(self) -> Slot:
        if self.least > self.most:
            raise ValueError(f"`least` ({self.least}) is above `most` ({self.most})")
        return self


class Rule(StrictModel):
    """When the caller says something like `hear`, answer with one of `say`.

    Attributes:
        hear: Patterns. `{slot}` captures what is said there; `*` matches anything.
        say: Variants, used in turn. Those that mention a known slot come before those that mention
            none; those that mention an unknown one are passed over.
        name: What `goto` calls it.
        topic: What "help" says one can talk about here.
        then: Rules tried first on the caller's next words.
        form: Collects the slots of this form next.
        goto: Goes on with this rule's reply.
        set: Slots to set.
        add: Numbers to add to slots, such as a score.
        keep: A digression: whatever was open before stays open, and is asked again.
        end: The call ends after this reply.
        put_through: After this reply the caller is put through to this one of the persona's `transfers`.
        urgent: Counts wherever it is said, whatever else is said, and leaves a form.
    """

    hear: Lines = Field(default_factory=list)
    say: SomeLines = Field(default_factory=list)
    name: str = ""
    topic: str = ""
    then: list[Rule] = Field(default_factory=list)
    form: str = ""
    goto: str = ""
    set: dict[str, str] = Field(default_factory=dict)
    add: dict[str, int] = Field(default_factory=dict)
    keep: bool = False
    end: bool = False
    put_through: str = ""
    urgent: bool = False

    @model_validator(mode="after")
    def _answers(self) -> Rule:
        if not (self.say or self.goto or self.form):
            raise ValueError("a rule needs `say`, `goto` or `form`")
        return self


class Form(StrictModel):
    """Slots to collect one after another, confirmed before it counts.

    Attributes:
        slots: Which, in the order in which they are asked for.
        confirm: Says what was understood and asks whether it is right.
        done: Said after a yes.
        cancelled: Said after a no, or when the caller gives up.
    """

    slots: list[str]
    confirm: SomeLines
    done: SomeLines
    cancelled: SomeLines


class Script(StrictModel):
    """A persona's offline conversation.

    Attributes:
        slots: What can be remembered, by name.
        rules: What can be talked about.
        forms: What can be collected, by name.
        fallback: Said when nothing matches; they keep the talk going.
        lead: Said after a fallback now and then: something to talk about.
        small_talk: Include the shared English small talk (greetings, thanks, time, help, …).
    """

    slots: dict[str, Slot] = Field(default_factory=dict)
    rules: list[Rule] = Field(default_factory=list)
    forms: dict[str, Form] = Field(default_factory=dict)
    fallback: Lines = Field(default_factory=list)
    lead: Lines = Field(default_factory=list)
    small_talk: bool = True

    @model_validator(mode="after")
    def _refers_to_what_exists(self) -> Script:
        named: dict[str, Rule] = {}
        for rule in all_rules(self.rules):
            if rule.name and named.setdefault(rule.name, rule) is not rule:
                raise ValueError(f"name: two rules are named '{rule.name}'")
        for rule in all_rules(self.rules):
            if rule.goto and rule.goto not in named:
                raise ValueError(f"goto: there is no rule named '{rule.goto}'")
            if rule.form and rule.form not in self.forms:
                raise ValueError(f"form: there is no form named '{rule.form}'")
            self._check_slots(rule)
        for rule in named.values():
            passed: set[str] = set()
            while rule.goto and rule.name not in passed:
                passed.add(rule.name)
                rule = named[rule.goto]
            if rule.goto:
                raise ValueError(f"goto: '{rule.name}' leads back to itself")
        for name, form in self.forms.items():
            for slot in form.slots:
                if slot not in self.slots or not self.slots[slot].ask:
                    raise ValueError(f"form '{name}' needs a slot '{slot}' with an `ask`")
            self._check_lines("confirm", form.confirm)
            self._check_lines("done", form.done)
            self._check_lines("cancelled", form.cancelled)
        for asked in self.slots.values():
            self._check_lines("ask", asked.ask)
        self._check_lines("fallback", self.fallback)
        self._check_lines("lead", self.lead)
        return self

    def _check_slots(self, rule: Rule) -> None:
        self._check_lines("hear", rule.hear, known=frozenset())
        self._check_lines("say", rule.say)
        for name in [*rule.add, *rule.set]:
            if name not in self.slots:
                raise ValueError(f"set, add: there is no slot '{name}'")
            if self.slots[name].kind == "number" and not rule.set.get(name, "0").isdecimal():
                raise ValueError(f"set: '{name}' is a number")
        for name in rule.add:
            if self.slots[name].kind != "number":
                raise ValueError(f"add: '{name}' is not a number")

    def _check_lines(self, key: str, lines: Lines, known: frozenset[str] = ALWAYS_KNOWN) -> None:
        for text in lines:
            for name in set(PLACEHOLDER.findall(text)) - set(self.slots) - known:
                raise ValueError(f"{key}: there is no slot '{name}' ('{text}')")
            if set("{}") & set(PLACEHOLDER.sub("", text)):
                raise ValueError(
                    f"{key}: braces go around the name of a slot, as in {{name}} ('{text}')"
                )


def all_rules(rules: list[Rule]) -> list[Rule]:
    """`rules` with everything nested under `then`, in reading order."""
    return [inner for rule in rules for inner in (rule, *all_rules(rule.then))]
